// What a switch would refuse, asked at the source as well, without moving anything: for the API's list of checks.
#pragma once
#include "cli/app.hpp"

namespace enishi::cli {

/// A JSON array of {"check", "ok", "detail"}. From any shard. FENCE: installed by the tables' owner. REVERSE: records can be written back,
/// tried in transactions that are rolled back.
Task<Result<std::string>> switch_checks(App& app, std::string domain);

}  // namespace enishi::cli
