# ./dev bench [NAME…]
build release enishi enishi_bench
if [ "${1:-}" = continuity ]; then
  shift
  node_modules tests
  exec env ENISHI="$root/build/release/enishi" BENCH="$root/build/release/enishi_bench" node "$root/bench/continuity.mjs" "$@"
fi
if [ "${1:-}" = takeover ]; then
  shift
  node_modules tests
  exec env ENISHI="$root/build/release/enishi" node "$root/bench/takeover.mjs" "$@"
fi
exec "$root/build/release/enishi_bench" --enishi "$root/build/release/enishi" "$@"
