// Which database a command works on: the one of --database, the one a running Enishi has in --data, or that one started for this command.
#pragma once
#include <memory>
#include <string>

#include "cli/settings.hpp"
#include "cluster/cluster.hpp"

namespace enishi::cli {

struct Target {
  std::string conninfo;
  std::unique_ptr<cluster::EmbeddedCluster> started;  ///< stops with the command
};

/// `role` logs in where the database is embedded. Errors CONFIG_INVALID, DATA_MISSING and those of starting.
Result<Target> find_target(const Settings& settings, std::string_view role, bool may_create);

}  // namespace enishi::cli
