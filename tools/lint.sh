# ./dev lint: formatting, arrows, the contract, shell, clang-tidy.
install
node_modules web tests
failed=0
say() { printf '%-60s %s\n' "$1" "$2"; }
check() { local name=$1; shift; if "$@" > build/lint.out 2>&1; then say "$name" ok; else failed=1; say "$name" FAILED; cat build/lint.out; fi; }
mkdir -p build
check "arrows of the house" "$root/tools/arrows.mjs"
check "dictionaries of the web client" "$root/tools/locales.mjs"
check "contract (redocly)" web/node_modules/.bin/redocly lint --config api/redocly.yaml api/openapi.yaml
check "format of the C++ code" bash -c "git ls-files 'src/*.cpp' 'src/*.hpp' 'bench/*.cpp' 'bench/*.hpp' 'cmake/*.cpp' | xargs clang-format-19 --dry-run --Werror"
if [ "${1:-}" = --tidy ]; then
  cmake --preset tidy >/dev/null
  check "clang-tidy" cmake --build build/tidy
fi
exit $failed
