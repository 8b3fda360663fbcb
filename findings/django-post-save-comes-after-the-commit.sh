#!/usr/bin/env bash
# Software:  Django 5.2.19 on SQLite
# Surprise:  A receiver of post_save runs after the commit of save(): if it fails, the row stays and its own work is lost.
#
# In autocommit mode, which is the default, save() has committed its row when it sends post_save. So a receiver that
# writes an outbox row or an audit entry beside the saved row is in no transaction with it, and its exception, which
# the caller of save() sees, takes nothing back. delete() sends post_delete inside of a transaction, so there the same
# receiver does take the deletion back. Wrap save() in transaction.atomic(), or set ATOMIC_REQUESTS.
#
# One would expect that save() sends its signals inside of its transaction, as delete() does: the documentation says
# that Django uses transactions where an operation of the ORM needs them, and that post_save is sent at the end of save().
#
# Output seen:
#   save, post_save fails: failed, 1 row there
#   save in atomic(), post_save fails: failed, 0 rows there
#   delete, post_delete fails: failed, 1 row there
set -euo pipefail

folder=$(mktemp -d -p /tmp)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check django==5.2.19

cat >try.py <<'PY'
from contextlib import nullcontext

import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.db"}})
django.setup()

from django.db import connection, models, transaction
from django.db.models.signals import post_delete, post_save


class Job(models.Model):
    class Meta:
        app_label = "jobs"


with connection.schema_editor() as editor:
    editor.create_model(Job)


def fail(**_):
    raise RuntimeError("the receiver cannot do its work")


def tried(what, action, around):
    try:
        with around:
            action()
    except RuntimeError:
        rows = Job.objects.count()
        print(f"{what}: failed, {rows} {'row' if rows == 1 else 'rows'} there")


post_save.connect(fail, sender=Job)
tried("save, post_save fails", Job().save, nullcontext())
Job.objects.all().delete()
tried("save in atomic(), post_save fails", Job().save, transaction.atomic())
post_save.disconnect(fail, sender=Job)

job = Job.objects.create()
post_delete.connect(fail, sender=Job)
tried("delete, post_delete fails", job.delete, nullcontext())
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
save, post_save fails: failed, 1 row there
save in atomic(), post_save fails: failed, 0 rows there
delete, post_delete fails: failed, 1 row there
SEEN
