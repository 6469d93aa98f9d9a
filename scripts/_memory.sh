# Sourced by the other scripts: temporary files in memory.

# Prints a new directory in memory, if there are 4 GiB of it and programs may be run from there. A sandbox is some
# fifty files, and the suite makes and removes thousands of sandboxes: on a disk, half of the emulator's own time goes there.
memory_directory() {
    local made free
    free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $1 == "tmpfs" { print $4 }')
    [ "${free:-0}" -ge $((4 * 1024 * 1024)) ] && made=$(mktemp -d /dev/shm/test.XXXXXX 2>/dev/null) || return 1
    printf '#!/bin/sh\n' >"$made/program"
    chmod 755 "$made/program"
    if ! "$made/program" 2>/dev/null; then
        rm -rf "$made"
        return 1
    fi
    rm "$made/program"
    echo "$made"
}
