// A file that the build put into the binary.
#pragma once
#include <string_view>

namespace enishi::embedded {

struct File {
  std::string_view path;   ///< relative to the folder that was embedded
  std::string_view bytes;  ///< lives as long as the process
};

}  // namespace enishi::embedded
