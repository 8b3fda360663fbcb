#!/bin/sh
# Tells people once a day of their overdue orders, which stand in a file as lines ORDER,USER,DUE: 4711,2,2025-01-27.
set -eu
today=$(date +%F)
failed=0

while IFS=, read -r order user due; do
    # Digits and hyphens can stand in JSON as they are. Any other line, such as one of headings, is passed over.
    case $order$user in '' | *[!0-9]*) continue ;; esac
    case $due in [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]) ;; *) continue ;; esac
    [ "$(echo "$due" | tr -d -)" -lt "$(echo "$today" | tr -d -)" ] || continue
    # The key names order and day, so a retry after a lost answer and a second run on that day notify nobody again.
    # What became of an attempt is said only if the last one has failed, too. The answer goes to the shell's /dev/null,
    # because curl cannot empty a file of that name, and does not try again then.
    said=$(curl --silent --show-error --fail --max-time 10 \
        --retry 5 --retry-connrefused --retry-max-time 60 \
        --header "Authorization: Bearer $DJACTORS_TOKEN" --header "Idempotency-Key: overdue-$order-$due-$today" \
        --json '{"type": "notification.requested", "tenantId": 1, "userId": '"$user"', "priority": "HIGH",
                 "notificationType": "order_overdue", "title": "Order '"$order"' was due on '"$due"'"}' \
        "$DJACTORS_URL/api/events" 2>&1 > /dev/null) || { echo "order $order: $said"; failed=1; }
done < "${1:-orders.csv}"

exit $failed
