# Sourced by the other scripts: finding a Python that works, and virtualenvs that are made once.

# Prints "3.11" and succeeds if $1 starts, is 3.9 or newer, and can make a virtualenv.
# A name on PATH proves nothing: pyenv leaves shims behind for versions that are not selected.
python_version() {
    "$1" -c 'import sys, venv, ensurepip
assert sys.version_info >= (3, 9)
print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Prints the interpreter to use: $PYTHON if set, else the newest of 3.14 .. 3.9, else python3.
find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        if python_version "$PYTHON" >/dev/null; then
            echo "$PYTHON"
            return
        fi
        echo "PYTHON=$PYTHON does not start, is older than 3.9, or has no venv and ensurepip modules." >&2
        return 1
    fi
    for candidate in python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3; do
        if python_version "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python >= 3.9 with the venv and ensurepip modules was found on PATH." >&2
    echo "Install one (Debian and Ubuntu: apt install python3 python3-venv), or set PYTHON=/path/to/python." >&2
    return 1
}

# Prints the path of the first interpreter of version $1 ("3.13") that works, also one that is not on PATH.
find_version() {
    local candidate
    for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python "/usr/bin/python$1" "/usr/local/bin/python$1" python3; do
        if [ "$(python_version "$candidate")" = "$1" ]; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

# Prints what of pyproject.toml an editable install depends on: not the list of subpackages, nor the settings of tools.
installed_settings() {
    awk '/^\[/ { wanted = /^\[(build-system|project|tool\.setuptools\.package-dir)/ } wanted' pyproject.toml
}

# make_venv DIR REQUIREMENT...: a virtualenv in DIR with the requirements installed, run from the repo's top. When DIR
# was already made for this place, these requirements and these settings, only new files are made known to checkers.
# Without PYTHON, the interpreter of an existing DIR stays.
make_venv() {
    local venv=$1
    shift
    local stamp="$venv/.caged-installed" wanted
    wanted=$(printf '%s\n' "$PWD" "$@" && installed_settings)
    local used python
    used=$(cat "$venv/.caged-python" 2>/dev/null || true)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ "${PYTHON:-$used}" = "$used" ] &&
        "$venv/bin/python" scripts/editable.py 2>/dev/null; then
        return
    fi
    python=$(PYTHON=${PYTHON:-$used} find_python 2>/dev/null || find_python)
    echo "Installing into $venv ($("$python" --version 2>&1)) ..." >&2
    rm -rf "$venv"
    # Each with its own `return`: `set -e` does not hold in a function whose result is looked at.
    "$python" -m venv "$venv" || return 1
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@" || return 1
    "$venv/bin/python" scripts/editable.py || return 1
    echo "$python" >"$venv/.caged-python"
    printf '%s\n' "$wanted" >"$stamp"
}

# The suite and the demo never talk to the real API, whatever the caller's shell has exported.
forget_live_settings() {
    unset CAGED_API_KEY CAGED_BASE_URL CAGED_TARGET CAGED_ISOLATION
    unset CAGED_EMULATOR_URL CAGED_EMULATOR_ADMIN_KEY CAGED_EMULATOR_API_KEY
}
