# One CMake target a module, with the dependencies architecture.md allows it and no others.
#
#   enishi_module(crm_customers
#     SOURCES customers.cpp routes.cpp
#     SQL     customers.sql            # -> "crm/customers/customers.sql.hpp", namespace enishi::sql::customers
#     DEPENDS auth                     # other enishi modules
#     LINKS   PkgConfig::SODIUM        # libraries from outside
#     TESTS   customers_test.cpp)      # linked into unit_tests

# clang finds the precompiled header beside the one it includes; that way ccache sees a path that it can take for the same in another folder.
set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -include <PCH_HEADER>)

add_library(enishi_flags INTERFACE)
target_compile_features(enishi_flags INTERFACE cxx_std_20)
target_compile_options(enishi_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wunused-result -Werror=unused-result -Werror=return-type -fno-omit-frame-pointer
  -Xclang -fno-pch-timestamp)
target_compile_definitions(enishi_flags INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED
  BOOST_ASIO_HAS_CO_AWAIT BOOST_ASIO_HAS_STD_COROUTINE
  ENISHI_VERSION="${PROJECT_VERSION}")
target_include_directories(enishi_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/gen)
target_include_directories(enishi_flags SYSTEM INTERFACE ${PostgreSQL_INCLUDE_DIRS})
target_link_libraries(enishi_flags INTERFACE Threads::Threads)
if(ENISHI_SANITIZE)
  target_compile_options(enishi_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_link_options(enishi_flags INTERFACE -fsanitize=address,undefined)
endif()
if(ENISHI_FUZZ)
  target_compile_options(enishi_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

add_custom_target(fuzz_targets)
set_property(GLOBAL PROPERTY ENISHI_TEST_SOURCES "")
set_property(GLOBAL PROPERTY ENISHI_TEST_MODULES "")

function(enishi_module name)
  cmake_parse_arguments(M "" "" "SOURCES;SQL;DEPENDS;LINKS;TESTS" ${ARGN})
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
  set(generated "")
  foreach(sql ${M_SQL})
    set(header ${CMAKE_BINARY_DIR}/gen/${folder}/${sql}.hpp)
    get_filename_component(stem ${sql} NAME_WE)
    add_custom_command(OUTPUT ${header}
      COMMAND enishi_embed sql ${stem} ${CMAKE_CURRENT_SOURCE_DIR}/${sql} ${header}
      DEPENDS enishi_embed ${CMAKE_CURRENT_SOURCE_DIR}/${sql} VERBATIM)
    list(APPEND generated ${header})
  endforeach()
  add_library(${name} STATIC ${M_SOURCES} ${generated})
  target_link_libraries(${name} PUBLIC enishi_flags ${M_DEPENDS} ${M_LINKS})
  if(ENISHI_TIDY)
    set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "clang-tidy-19;--warnings-as-errors=*")
  endif()
  if(NOT name STREQUAL "base")
    target_precompile_headers(${name} REUSE_FROM boost_impl)
  endif()
  foreach(test ${M_TESTS})
    set_property(GLOBAL APPEND PROPERTY ENISHI_TEST_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/${test})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY ENISHI_TEST_MODULES ${name})
endfunction()

# A library that holds every file below a folder: enishi_embed_files(migrations ROOT) -> "embedded/migrations.hpp",
# enishi::embedded::migrations, target embedded_migrations.
function(enishi_embed_files name root)
  set(out ${CMAKE_BINARY_DIR}/gen/embedded/${name})
  file(GLOB_RECURSE contents CONFIGURE_DEPENDS ${root}/*)
  add_custom_command(OUTPUT ${out}.s ${out}.hpp
    COMMAND enishi_embed files ${name} ${out}.s ${out}.hpp ${root}
    DEPENDS enishi_embed ${contents} VERBATIM)
  set_source_files_properties(${out}.s PROPERTIES OBJECT_DEPENDS "${contents}")
  add_library(embedded_${name} STATIC ${out}.s ${out}.hpp)
  set_target_properties(embedded_${name} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()

# A libFuzzer target: enishi_fuzz(csv_fuzz SOURCES csv_fuzz.cpp DEPENDS crm_imports CORPUS corpus/csv)
function(enishi_fuzz name)
  if(NOT ENISHI_FUZZ)
    return()
  endif()
  cmake_parse_arguments(F "" "CORPUS" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${F_SOURCES})
  target_link_libraries(${name} PRIVATE ${F_DEPENDS} boost_impl)
  add_dependencies(fuzz_targets ${name})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_precompile_headers(${name} REUSE_FROM boost_impl)
  # One seed: what a commit is told depends on the commit. The program itself, without one, looks for more.
  add_test(NAME fuzz.${name} COMMAND ${name} -seed=1 -runs=20000 -max_total_time=20 ${CMAKE_CURRENT_BINARY_DIR}/corpus-${name}
           ${CMAKE_CURRENT_SOURCE_DIR}/${F_CORPUS})
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/corpus-${name})
endfunction()
