"""Files for Prometheus and Grafana: `alerts.yml` and `dashboard.json`. `djactors monitoring` prints them."""
