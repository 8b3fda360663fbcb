"""Where the views are."""

from django.urls import path

from studio import views

urlpatterns = [path("jobs", views.create), path("jobs/<int:number>/assign", views.assign)]
