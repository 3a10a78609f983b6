// Where the crash tests strike: each numbered step of a protocol calls fault_point("stream.4"), which does nothing unless TAKEOVER_FAULT
// says so.
//
//   TAKEOVER_FAULT=SEAL:kill          the process ends itself there, as kill -9 would
//   TAKEOVER_FAULT=stream.4:stop:3    it stops itself (SIGSTOP) the third time: whoever sees that kills whom it likes, then sends SIGCONT
//   TAKEOVER_FAULT=DRAIN:fail         the step fails as if a database were away
//   TAKEOVER_FAULT=@/tmp/fault        what the file says, read at each step: a running server gets its faults one after the other
//
// A fault strikes once; the file is removed before it does.
#pragma once
#include <string_view>

namespace enishi::takeover {

void fault_point(std::string_view step);

}  // namespace enishi::takeover
