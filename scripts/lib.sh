# shellcheck shell=bash
# What the scripts share: where the checkout is, which Node to use, and who owns what is built.
# Sourced, never run. Sets `root`; has no other effect until a function is called.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly root
readonly node_minimum=20.19.0

say() { printf '%s\n' "$*" >&2; }

# die WHAT WHAT-TO-DO
die() {
  printf 'error: %s\n       %s\n' "$1" "$2" >&2
  exit 1
}

# require_root WHY
require_root() {
  [ "$(id -u)" -eq 0 ] || die "$1 needs root" "Run it again as: sudo $0"
}

# True when version $1 is at least version $2 (both x.y.z).
version_at_least() {
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# The environment of whoever typed sudo, which itself replaces it (PATH, proxies, certificates): NAME=VALUE, each ended
# by a NUL. Fails when no sudo is among the ancestors.
environment_before_sudo() {
  local pid=$PPID name
  while [ "$pid" -gt 1 ]; do
    read -r name <"/proc/$pid/comm" || return 1
    if [ "$name" = sudo ]; then
      cat "/proc/$pid/environ"
      return
    fi
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
  done
  return 1
}

path_before_sudo() { environment_before_sudo | sed -zn 's/^PATH=//p' | tr -d '\0'; }

home_of() { getent passwd "$1" | cut -d: -f6; }

# Every place where a Node may be, the likeliest first: the caller's PATH, then where version managers keep theirs.
node_candidates() {
  local home=${HOME:-/root} directory path=$PATH before
  if [ -n "${SUDO_USER:-}" ]; then
    home=$(home_of "$SUDO_USER")
    before=$(path_before_sudo) || before=''
    path=$before:$path
  fi
  tr ':' '\n' <<<"$path" | sed 's|$|/node|'
  for directory in \
    "$home"/.nvm/versions/node/*/bin "$home"/.local/share/fnm/node-versions/*/installation/bin \
    "$home"/.volta/tools/image/node/*/bin "$home"/.asdf/installs/nodejs/*/bin \
    "$home"/.local/share/mise/installs/node/*/bin "$home"/n/bin /usr/local/bin /opt/node*/bin; do
    printf '%s\n' "$directory/node"
  done | sort -rV
}

# Who owns the checkout and what is built in it. Under sudo that is the checkout's owner, else the caller.
builder_uid() {
  if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ]; then
    stat -c %u "$root"
  else
    id -u
  fi
}

# as_builder COMMAND ARG…: runs it so that the files it makes in the checkout are the owner's, in the environment that
# he had before he typed sudo.
as_builder() {
  local uid name
  local -a environment=()
  uid=$(builder_uid)
  if [ "$uid" -eq "$(id -u)" ]; then
    "$@"
    return
  fi
  name=$(id -nu "$uid")
  if [ "$uid" -eq "${SUDO_UID:-0}" ]; then mapfile -d '' -t environment < <(environment_before_sudo); fi
  setpriv --reuid "$uid" --regid "$(id -g "$name")" --init-groups \
    env "${environment[@]}" HOME="$(home_of "$name")" USER="$name" LOGNAME="$name" PATH="$PATH" "$@"
}

# Puts the first Node that is new enough first on PATH, resolved to the real one behind a version manager's shim.
use_node() {
  local candidate version real seen=''
  while read -r candidate; do
    [ -x "$candidate" ] || continue
    # A shim asks its manager, which needs the owner's HOME.
    version=$(cd "$root" && as_builder "$candidate" -p process.versions.node 2>/dev/null) || continue
    if version_at_least "$version" "$node_minimum"; then
      real=$(cd "$root" && as_builder "$candidate" -p process.execPath)
      PATH=$(dirname "$real"):$PATH
      export PATH
      return
    fi
    seen="$seen $version ($candidate)"
  done < <(node_candidates)
  [ -z "$seen" ] || die "Node $node_minimum or later is needed; found only$seen" \
    'Install a later one (https://nodejs.org/en/download), then run this again.'
  die "Node is not installed, or not where it was looked for" \
    "Install Node $node_minimum or later (https://nodejs.org/en/download), then run this again."
}
