#!/bin/sh
# Tells people once a day of their overdue orders, which stand in a file as lines ORDER,USER,DUE: 4711,2,2025-01-27.
set -eu
today=$(date +%F)
return=$(printf '\r')
number=0
failed=0

# The last line may lack its end, and a file from Windows has a carriage return before each end.
while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=${line%"$return"}
    [ -n "$line" ] || continue
    order=${line%%,*} rest=${line#*,}
    user=${rest%%,*} due=${rest#*,}
    # Digits and hyphens can stand in JSON as they are. Any other line is an error, and keeps no other line waiting.
    case $order,$user in ,* | *, | *[!0-9,]*) due='' ;; esac
    case $due in
        [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]) ;;
        *) printf "line %s is not ORDER,USER,DUE: %s\n" "$number" "$line"; failed=1; continue ;;
    esac
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
