#!/usr/bin/env bash
# Software:  pg-types 4.1.0 (how node-postgres reads values) and i18next 27.1.5 (how a page writes them)
# Surprise:  The page shows the key of the message, "unread", in place of "3 unread".
#
# `SELECT count(*)` is a bigint in PostgreSQL. node-postgres reads a bigint as text, since JavaScript's numbers cannot
# hold every bigint, and the text goes through JSON to the page. i18next picks the plural form by the option `count`,
# but only if this option is a number. If it is a text, i18next looks for a message without plural forms, finds none and
# shows the key. Neither library reports anything. A message without plural forms, such as "Unread: {{count}}", is
# right, so the same count may work in one place and not in the next.
#
# One would expect that i18next takes "3" for 3, as Intl.PluralRules does, or refuses it. `Number(count)` helps.
#
# Output seen:
#   count 3 (number): 3 unread
#   count "3" (as read from PostgreSQL): unread
#   Intl.PluralRules for "3": other
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit pg-types@4.1.0 i18next@27.1.5

cat >try.mjs <<'JS'
import i18next from "i18next";
import types from "pg-types";

const messages = { unread_one: "one unread", unread_other: "{{count}} unread" };
await i18next.init({ lng: "en", resources: { en: { translation: messages } }, showSupportNotice: false });

const read = types.getTypeParser(types.builtins.INT8, "text")("3");
console.log(`count ${JSON.stringify(3)} (number):`, i18next.t("unread", { count: 3 }));
console.log(`count ${JSON.stringify(read)} (as read from PostgreSQL):`, i18next.t("unread", { count: read }));
console.log(`Intl.PluralRules for ${JSON.stringify(read)}:`, new Intl.PluralRules("en").select(read));
JS

timeout 60 node try.mjs | tee seen
diff seen - <<'SEEN'
count 3 (number): 3 unread
count "3" (as read from PostgreSQL): unread
Intl.PluralRules for "3": other
SEEN
