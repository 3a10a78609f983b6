#include "cluster/guardian_impl.hpp"

namespace enishi::cluster {

std::vector<Guardian::Impl::Disk> Guardian::Impl::disks() const {
  Disk own{"data", cluster.data()};
  std::error_code ec;
  if (const auto space = fs::space(own.path, ec); !ec) {
    own.bytes = space.capacity;
    own.free = space.available;
  }
  const auto seen = storage.seen();
  return {own, {"backup", repository.folder(), seen.bytes, seen.free}};
}

/// What the observation means.
void Guardian::Impl::judge() {
  json::object archiver, receiver, slot;
  bool ready = false, prepared_now = false;
  std::int64_t waiting = 0;
  Moment outage, newest_backup{};
  bool damaged = false, any = false;
  std::string damaged_label;
  {
    const std::lock_guard held(guard);
    archiver = object_of(observed, "archiver");
    receiver = object_of(observed, "receiver");
    slot = object_of(observed, "slot");
    ready = !observed.empty();
    prepared_now = prepared;
    waiting = wal_waiting;
    for (const auto& b : info.backups) {
      if (b.damaged) {
        damaged = true;
        damaged_label = b.label;
      } else {
        any = true;
        newest_backup = std::max(newest_backup, b.finished);
        if (damaged && b.finished >= newest_backup) damaged = false;
      }
    }
  }
  if (!ready) return;
  const auto failed_at = from_micros(field(archiver, "last_failed_at")), archived_at = from_micros(field(archiver, "last_at"));
  const auto silent = storage.silent();
  const bool hangs = !storage.answers(), gone = !hangs && !storage.seen().reachable;
  const bool failing = (failed_at != Moment{} && failed_at > archived_at && waiting > 0) || (prepared_now && (gone || hangs));
  {
    const std::lock_guard held(guard);
    if (failing || !prepared_now) {
      if (outage_from == Moment{})
        outage_from =
            failing && archived_at != Moment{} && failed_at > archived_at ? std::max(archived_at, failed_at - minutes(10)) : now();
    } else {
      outage_from = Moment{};
    }
    outage = outage_from;
  }
  const auto limit = settings().outage_hours;
  if (hangs)
    problem("repository", true, "BACKUP_SILENT",
            fmt::format("the disk of \"{}\" has not answered for {} s", repository.folder().string(), silent.count() / 1000),
            fmt::format("see whether its server is there: `findmnt -T {}`; it goes on by itself", repository.folder().string()));
  else if (gone)
    problem("repository", true, "BACKUP_GONE", fmt::format("the backups are not in \"{}\" any more", repository.folder().string()),
            fmt::format("mount its disk again; `findmnt -T {}` says what is there now", repository.folder().string()));
  else if (prepared_now)
    solved("repository");
  if (failing)
    problem("archive", true, "WAL_NOT_ARCHIVED",
            fmt::format("since {} no WAL could be archived; {} files wait in \"{}/pgdata/pg_wal\" and none is dropped{}", to_text(outage),
                        waiting, data(), limit == 0 ? "" : fmt::format("; writes go on until {}", to_text(outage + hours(limit)))),
            fmt::format("df -h {} ; the reason is in the newest file of {}/log", repository.folder().string(), data()));
  else
    solved("archive");
  bool turn = false, refuse = false;
  {
    const std::lock_guard held(guard);
    refuse = limit > 0 && outage != Moment{} && now() - outage > hours(limit);
    turn = refuse != read_only;
    read_only = refuse;
  }
  if (turn) {
    log(refuse ? Level::error : Level::info,
        refuse ? "backups: writes are refused, nothing could be backed up for too long" : "backups: writes go on");
    write_conf();
  }
  if (refuse)
    problem("writes", true, "WRITES_STOPPED",
            fmt::format("nothing could be backed up for {} hours: writes are refused until it can", limit),
            "bring the backups back; to write without: enishi serve --backup-outage-hours 0");
  else
    solved("writes");
  const bool streams = text_of(receiver, "state") == "streaming";
  if (streams)
    solved("receiver");
  else if (prepared_now && !stop_work)
    problem("receiver", settings().synchronous, "RECEIVER_AWAY",
            "the WAL receiver does not stream: the newest minute exists on the database's disk only",
            fmt::format("tail {}/log/receiver.log ; df -h {}", data(), repository.receiver().string()));
  if (text_of(slot, "wal_status") == "lost")
    problem("slot", true, "RECEIVER_GAP", "the receiver was away for so long that WAL it has not seen was let go; the repository has it",
            "nothing to do: it begins anew by itself");
  else
    solved("slot");
  if (damaged)
    problem("damage", true, "PAGES_DAMAGED",
            fmt::format("backup {} found pages of the database whose checksum is wrong: the disk or the memory is failing", damaged_label),
            fmt::format("docs/operate/corrupted-page.md: enishi restore --data {0} --into {0}/restored", data()));
  else
    solved("damage");
  if (prepared_now && !any)
    problem("age", false, "NO_BACKUP_YET", "there is no full backup yet: nothing can be restored",
            "wait for the first one, or enishi backup --data " + data());
  else if (prepared_now && since(newest_backup) > 2 * 24 * 3600.0)
    problem("age", true, "BACKUP_OLD", "the newest good backup is of " + to_text(newest_backup), "enishi backup --data " + data());
  else if (any)
    solved("age");
  if (settings().drill_days > 0) {
    const std::lock_guard held(guard);
    const bool good =
        last_good_drill != Moment{} && since(last_good_drill) < (settings().drill_days + 1) * 86400.0 && (!last_drill || last_drill->good);
    if (good) {
      problems.erase("drill");
    } else {
      auto& p = problems["drill"];
      const bool failed = last_drill && !last_drill->good;
      p = Problem{true,
                  failed                        ? "DRILL_FAILED"
                  : last_good_drill == Moment{} ? "DRILL_NEVER"
                                                : "DRILL_OLD",
                  failed                        ? "the newest drill failed: " + last_drill->detail
                  : last_good_drill == Moment{} ? "no backup was ever restored for a test"
                                                : "the newest good drill is of " + to_text(last_good_drill),
                  "enishi drill --data " + data(), p.from == Moment{} ? now() : p.from};
    }
  }
  for (const auto& [name, path, bytes, free] : disks()) {
    if (bytes == 0) continue;
    const double share = static_cast<double>(free) / static_cast<double>(bytes);
    const auto topic = std::string("disk ") + name;
    if (share < 0.1)
      problem(
          topic, share < 0.03, "DISK_NEARLY_FULL",
          fmt::format("{:.1f} GB ({:.0f} %) are free on the disk of \"{}\"", static_cast<double>(free) / 1e9, share * 100, path.string()),
          fmt::format("df -h {}", path.string()));
    else
      solved(topic);
    (name == "data" ? figures().free_data : figures().free_backup).set(static_cast<double>(free));
  }
}

}  // namespace enishi::cluster
