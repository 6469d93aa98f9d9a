# From a shell script, with the commands of caged-emulator.
#
#     caged-emulator exec -- bash from_a_shell.sh
set -euo pipefail

ask() { curl -sS --noproxy '*' -H "Authorization: Bearer $CAGED_API_KEY" "$@"; }

caged-emulator faults add sandboxes.create --status 503 --times 1
[ "$(ask -o /dev/null -w '%{http_code}' -d '{"template": "minimal"}' "$CAGED_BASE_URL/v1/sandboxes")" = 503 ]
[ "$(ask -o /dev/null -w '%{http_code}' -d '{"template": "minimal"}' "$CAGED_BASE_URL/v1/sandboxes")" = 201 ]
caged-emulator clock advance --minutes 20
ask "$CAGED_BASE_URL/v1/sandboxes" | grep -q '"status":"paused"'
