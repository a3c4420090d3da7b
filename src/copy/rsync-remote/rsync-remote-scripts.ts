/*
 * What the other end of rsync over ssh is given to run: fixed scripts for a POSIX shell with coreutils. What they are
 * about comes as their arguments. Of each backup `JOB/ID` is the tree, `JOB/ID.json` the note and `JOB/ID.digests.gz` the
 * list of its digests.
 */

/**
 * What each script begins with: `$1` is the directory, which must be what was made for backups, and not the empty place
 * where a disk is not mounted. The umask makes all that it makes private.
 */
const PROLOGUE = `set -e
umask 077
root=$1
shift
if ! [ -f "$root/.fsbackup-repository" ]; then echo 'fsbackup: absent'; exit 0; fi
cd "$root"
`;

/**
 * `$1` yes or no: whether it may be made; `$2` the id that it then gets. On disk first, then under its name: a mark that a
 * power cut leaves empty would have the place refused from then on.
 */
export const OPEN = `set -e
umask 077
root=$1
mark=$root/.fsbackup-repository
if ! [ -f "$mark" ]; then
  if [ "$2" != yes ]; then echo 'fsbackup: absent'; exit 0; fi
  mkdir -p "$root"
  printf '%s\\n' "$3" >"$mark.new"
  sync "$mark.new" 2>/dev/null || sync
  mv "$mark.new" "$mark"
fi
printf 'fsbackup: user %s\\n' "$(id -u)"
printf 'fsbackup: id %s\\n' "$(cat "$mark")"
`;

/**
 * `$1` the job, `$2` the id, `$3` the incomplete directory, `$4` and `$5` the same of the note and of the list; `$6` yes or no:
 * whether what was copied before stays; `$7` the id that it was to get, under which it may be published, though nobody here
 * knows. See `ResumeTrees.prepare`.
 */
export const PREPARE = `${PROLOGUE}
mkdir -p "$1"
cd "$1"
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || true)
now=
if [ -n "$boot" ]; then now="$boot $(stat -c %d . 2>/dev/null || true)"; fi
printf 'fsbackup: instance %s\\n' "$now"
rm -rf "$3+new" "$3".earlier-*
rm -f "$4" "$5"
if [ "$6" = yes ]; then
  if [ -e "$3+earlier" ]; then rm -rf "$3"
  elif [ -e "$3" ]; then mv "$3" "$3+earlier"
  fi
  for id in "$2" "$7"; do
    if [ -n "$id" ] && [ -d "$id" ] && ! [ -e "$3+earlier" ]; then mv "$id" "$3+earlier"; fi
  done
  if [ -e "$3+earlier" ]; then echo 'fsbackup: earlier'; fi
  if [ -e "$3+known" ]; then echo 'fsbackup: known'; fi
else
  rm -rf "$3" "$3"+*
fi
for id in "$2" "$7"; do
  if [ -n "$id" ]; then rm -rf "$id" "$id.json" "$id.digests.gz"; fi
done
mkdir "$3"
`;

/** As `PREPARE`. */
export const RENEW = `${PROLOGUE}
cd "$1"
mkdir -p "$3+new"
rm -rf "$3+known"
mv "$3+new" "$3+known"
rm -rf "$3+earlier"
`;

/** As `PREPARE`. */
export const FORGET = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
rm -rf "$3"+*
`;

/** As `PREPARE`. Tells of the last backup of the job, whoever made it. */
export const LAST = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
for one in ????????T??????Z-*; do
  if [ -d "$one" ] && ! [ -h "$one" ]; then printf 'fsbackup: backup %s\\n' "$one"; fi
done | tail -n 1
`;

/**
 * What scripts begin with that are sent something. `receive FILE BYTES`: what is broken off ends like what is whole, so that it has
 * to be counted.
 */
const RECEIVING = `${PROLOGUE}
receive() {
  cat >"$1"
  if [ "$(wc -c <"$1")" -ne "$2" ]; then echo "$1 came cut short" >&2; exit 1; fi
}
`;

/** As `PREPARE`. `$6` is how many bytes of the list come. */
export const STORE_LIST = `${RECEIVING}
cd "$1"
receive "$5" "$6"
`;

/**
 * As `PREPARE`. `$6` is how many bytes of the note come. On disk first, then under its name: a backup with a name is a whole one.
 * Its note and its list are there before it, and are nothing without it.
 */
export const PUBLISH = `${RECEIVING}
cd "$1"
if [ -e "$2" ]; then echo "$2 is there already" >&2; exit 1; fi
flush() { sync -f . 2>/dev/null || sync; }
receive "$4" "$6"
mv "$4" "$2.json"
if [ -f "$5" ]; then mv "$5" "$2.digests.gz"; fi
flush
mv "$3" "$2"
flush
rm -rf "$3"+* || true
`;

/** As `PREPARE`. */
export const ABANDON = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
rm -rf "$3" "$3"+* "$3".earlier-* "$4" "$5"
`;

/** The name goes first: without it there is no backup. */
export const REMOVE = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
if [ -e "$2" ]; then mv "$2" ".removing-$2"; fi
rm -rf "$2.json" "$2.digests.gz" ".removing-$2"
`;

export const EXISTS = `${PROLOGUE}
if [ -d "$1/$2" ]; then echo 'fsbackup: there'; fi
`;

/** Exits with 66 (EX_NOINPUT) where there is none. Prints nothing else, and says nothing of the place. */
export const FETCH = `set -e
if ! [ -f "$1/$2/$3.digests.gz" ]; then exit 66; fi
cat "$1/$2/$3.digests.gz"
`;

/**
 * `$1` how many bytes of a note are enough. Of each job it tells of the trees that may be backups, with what lies at the
 * top of each, and then prints the notes, each after a line with its name, all of these lines after a blank: none is taken
 * for what the script tells. No process is started for each of them. What is removed meanwhile is passed over; a job that may not be looked into fails.
 */
export const FIND = `${PROLOGUE}
for job in [A-Za-z0-9]*; do (
  if ! [ -d "$job" ] || [ -h "$job" ]; then exit 0; fi
  cd "./$job" || { if [ -d "$job" ]; then exit 1; fi; exit 0; }
  for id in ????????T??????Z-*; do
    if ! [ -d "$id" ] || [ -h "$id" ]; then continue; fi
    printf 'fsbackup: backup %s %s\\n' "$job" "$id"
    for one in "$id"/* "$id"/.[!.]* "$id"/..?*; do
      if [ -e "$one" ] || [ -h "$one" ]; then printf 'fsbackup: top %s\\n' "$one"; fi
    done
  done
  printf 'fsbackup: notes %s\\n' "$job"
  find . -maxdepth 1 -type f -name '????????T??????Z-*.json' -exec head -v -c "$1" {} + | paste -d ' ' /dev/null -
  printf 'fsbackup: end\\n'
) done
`;
