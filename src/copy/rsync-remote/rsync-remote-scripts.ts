/*
 * What the other end of rsync over ssh is given to run: fixed scripts for a POSIX shell with coreutils. What they are
 * about comes as their arguments. Of each backup `JOB/ID` is the tree, `JOB/ID.json` the note and `JOB/ID.digests.gz` the
 * list of its digests.
 *
 * A script goes on there when its connection is lost, beside those of the next attempt. So all that an attempt has before it
 * is published lies in `JOB/.incomplete-MARK`, which no other attempt is named by, and the next one begins by giving that its
 * own name: whatever a script of before then does to `.incomplete-MARK/…` fails. None does a thing to a backup but by a rename
 * from or to there, and none changes into it.
 */

/** What the scripts said, by the first word. A login's own greetings are passed over. */
export function answers(stdout: string, word: string): string[] {
  const prefix = `fsbackup: ${word}`;
  return stdout
    .split('\n')
    .filter((line) => line === prefix || line.startsWith(`${prefix} `))
    .map((line) => line.slice(prefix.length + 1));
}

/**
 * What each script begins with: `$1` is the directory, which must be what was made for backups, and not the empty place
 * where a disk is not mounted. The umask makes all that it makes private. `discard FILE...` of scripts that have an attempt:
 * into `gone`, which they make and remove.
 */
const PROLOGUE = `set -e
umask 077
root=$1
shift
if ! [ -f "$root/.fsbackup-repository" ]; then echo 'fsbackup: absent'; exit 0; fi
cd "$root"
attempt=".incomplete-$3"
gone="$attempt/gone-$3"
discard() {
  for one do
    if [ -e "$one" ]; then mv "$one" "$gone/"; fi
  done
}
`;

/**
 * `$1` yes or no: whether it may be made; `$2` the id that it then gets. On disk first, then under its name: a mark that a
 * power cut leaves empty would have the place refused from then on. As for `sync` see `PUBLISH`.
 */
export const OPEN = `set -e
umask 077
root=$1
mark=$root/.fsbackup-repository
if ! [ -f "$mark" ]; then
  if [ "$2" != yes ]; then echo 'fsbackup: absent'; exit 0; fi
  mkdir -p "$root"
  printf '%s\\n' "$3" >"$mark.new"
  if [ -e /proc/self ] && sync -f /proc 2>/dev/null; then sync "$mark.new"; else sync; fi
  mv "$mark.new" "$mark"
fi
printf 'fsbackup: user %s\\n' "$(id -u)"
printf 'fsbackup: id %s\\n' "$(cat "$mark")"
`;

/**
 * `$1` the job, `$2` the id, `$3` the mark of the attempt, `$4` what the marks of this host's attempts begin with, `$5` its name
 * alone, by which earlier versions named what they left; `$6` yes or no: whether what was copied before stays; `$7` the id that
 * it was to get, under which it may be published, though nobody here knows. See `ResumeTrees.prepare`. Of `lost` see `PUBLISH`.
 *
 * What is there may be of a clone that has our id, too: `copies` tells of which backups it was. What an earlier version left tells
 * nothing of that: no instance is told, so that it is read.
 */
export const PREPARE = `${PROLOGUE}
mkdir -p "$1"
cd "$1"
keep="$6"
old=".incomplete-$5"
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || true)
now=
if [ -n "$boot" ]; then now="$boot $(stat -c %d . 2>/dev/null || true)"; fi
adopt() {
  if [ -e "$1" ]; then mv "$1" "$2"; now=; fi
}
for one in ".incomplete-$4"*; do
  if [ -d "$one" ] && ! [ -e "$attempt" ]; then mv "$one" "$attempt"; fi
done
if ! [ -d "$attempt" ]; then
  mkdir "$attempt"
  if [ "$keep" = yes ]; then
    adopt "$old" "$attempt/tree"
    adopt "$old+earlier" "$attempt/earlier"
    adopt "$old+known" "$attempt/known"
    adopt "$old+partial" "$attempt/partial"
  fi
elif ! grep -q -x -F -e "$7" "$attempt/copies" 2>/dev/null; then keep=no
fi
printf 'fsbackup: instance %s\\n' "$now"
rm -rf "$attempt"/gone-*
mkdir "$gone"
for one in ".incomplete-$4"*; do
  if [ "$one" != "$attempt" ]; then discard "$one"; fi
done
if [ -e "$attempt/lost" ]; then
  keep=no
  discard "$attempt/lost"
fi
discard "$attempt/new" "$attempt/note" "$attempt/digests.gz"
if [ "$keep" = yes ]; then
  if [ -e "$attempt/earlier" ]; then discard "$attempt/tree"
  elif [ -e "$attempt/tree" ]; then mv "$attempt/tree" "$attempt/earlier"
  fi
  for id in "$2" "$7"; do
    if [ -n "$id" ] && [ -d "$id" ] && ! [ -e "$attempt/earlier" ]; then mv "$id" "$attempt/earlier"; fi
  done
  if [ -e "$attempt/earlier" ]; then echo 'fsbackup: earlier'; fi
  if [ -e "$attempt/known" ]; then echo 'fsbackup: known'; fi
else
  discard "$attempt/tree" "$attempt/earlier" "$attempt/known" "$attempt/partial" "$attempt/copies"
fi
for id in "$2" "$7"; do
  if [ -n "$id" ]; then discard "$id" "$id.json" "$id.digests.gz"; fi
done
printf '%s\\n' "$2" >>"$attempt/copies"
mkdir "$attempt/tree"
rm -rf "$gone" ".removing-$4"* "$old" "$old"+* "$old".earlier-* ".note-$5" ".digests-$5"
`;

/** As `PREPARE`. */
export const RENEW = `${PROLOGUE}
cd "$1"
mkdir "$gone"
if ! [ -d "$attempt/new" ]; then mkdir "$attempt/new"; fi
discard "$attempt/known"
mv "$attempt/new" "$attempt/known"
discard "$attempt/earlier"
rm -rf "$gone"
`;

/** As `PREPARE`. */
export const FORGET = `${PROLOGUE}
cd "$1"
mkdir "$gone"
discard "$attempt/new" "$attempt/known" "$attempt/earlier" "$attempt/partial"
rm -rf "$gone"
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
receive "$attempt/digests.gz" "$6"
`;

/**
 * As `PREPARE`. `$6` is how many bytes of the note come. On disk first, then under its name: a backup with a name is a whole one.
 * Its note and its list are there before it, and are nothing without it.
 *
 * What the disk did not take is told by `sync -f` of GNU coreutils (8.24 has it, as a filesystem shows that nobody writes to) on Linux 5.8
 * and later: once for a filesystem, to whoever asks first. So those whose copy is going on, or is kept, in this place are told that
 * theirs may be `lost`. busybox asks and does not tell, others do not ask: there each file that this copy brought is asked for. It has
 * one name, once `known`, which has nothing that the tree lacks, is gone.
 */
export const PUBLISH = `${RECEIVING}
cd "$1"
if [ -e "$2" ]; then echo "$2 is there already" >&2; exit 1; fi
if ! [ -d "$attempt/tree" ]; then echo 'another copy has taken the place of this one' >&2; exit 1; fi
tells=no
case "$(sync --version 2>/dev/null || true)" in
*GNU*) if [ -e /proc/self ] && sync -f /proc 2>/dev/null; then tells=yes; fi ;;
esac
case "$(uname -r)" in
[0-4].* | 5.[0-7].*) tells=no ;;
esac
flush() {
  if [ "$tells" = no ]; then sync -f . 2>/dev/null || sync
  elif ! sync -f .; then
    for one in "$root"/*/.incomplete-*=*; do
      if [ -d "$one" ]; then touch "$one/lost" || true; fi
    done
    return 1
  fi
  if [ -e "$attempt/lost" ]; then echo 'Input/output error, which a copy beside this one was told of' >&2; return 1; fi
}
receive "$attempt/note" "$6"
mv "$attempt/note" "$2.json"
if [ -f "$attempt/digests.gz" ]; then mv "$attempt/digests.gz" "$2.digests.gz"; fi
rm -rf "$attempt/known" "$attempt/earlier"
flush
if [ "$tells" = no ]; then find "$attempt/tree" -type f -links 1 -exec sync {} +; fi
mv "$attempt/tree" "$2"
if ! flush; then mv "$2" "$attempt/tree"; exit 1; fi
if mv "$attempt" ".removing-$3"; then rm -rf ".removing-$3" || true; fi
`;

/** As `PREPARE`. */
export const ABANDON = `${PROLOGUE}
if ! [ -d "$1" ]; then exit 0; fi
cd "$1"
rm -rf ".removing-$4"*
for one in ".incomplete-$4"*; do
  if [ -d "$one" ]; then mv "$one" ".removing-$3"; rm -rf ".removing-$3"; fi
done
rm -rf ".incomplete-$5" ".incomplete-$5"+* ".note-$5" ".digests-$5"
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
