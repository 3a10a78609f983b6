# ./dev format
install
git ls-files 'src/*.cpp' 'src/*.hpp' 'bench/*.cpp' 'bench/*.hpp' 'cmake/*.cpp' | xargs clang-format-19 -i
