#include "cluster/guardian_impl.hpp"

namespace enishi::cluster {

/// What the repository has need not stay with the receiver; the newest stay all the same, for a repository can lose a file.
void Guardian::Impl::tidy_receiver(const fs::path& folder) {
  std::string archived;
  {
    const std::lock_guard held(guard);
    archived = text_of(object_of(observed, "archiver"), "last_wal").substr(0, 24);
  }
  if (archived.size() != 24) return;
  (void)storage.run(
      [folder, archived]() -> Result<void> {
        std::error_code ec;
        std::vector<fs::path> old;
        for (const auto& entry : fs::directory_iterator(folder, ec)) {
          const auto name = entry.path().filename().string();
          if (parse_wal_file(name) && name.substr(0, 8) == archived.substr(0, 8) && name <= archived) old.push_back(entry.path());
        }
        std::sort(old.begin(), old.end());
        for (std::size_t i = 0; i + kKeptSegments < old.size(); ++i) fs::remove(old[i], ec);
        return {};
      },
      kStorageLimit);
}

void Guardian::Impl::receive() {
  auto wait = Millis(200);
  for (;;) {
    bool ready = false;
    std::uint32_t timeline = 0;
    std::string id;
    {
      std::unique_lock held(guard);
      changed.wait_for(held, wait, [this] { return stop_receiver.load(); });
      ready = prepared && !observed.empty();
      timeline = static_cast<std::uint32_t>(number_of(observed, "timeline"));
      id = system;
    }
    if (stop_receiver) return;
    if (!ready || !cluster.wait_ready(Deadline::in(Millis(500)))) continue;
    if (!storage.answers() || !storage.seen().reachable) {
      wait = Millis(2000);
      continue;
    }
    const auto folder = repository.receiver() / fmt::format("{}-{:08X}", id, timeline);
    if (auto made = storage.run([folder, user = cluster.user()] { return make_receiver_folder(folder, user); }, kStorageLimit); !made) {
      wait = Millis(5000);
      continue;
    }
    const auto began = steady_now();
    auto tidied = began;
    const auto conninfo =
        fmt::format("host={} port={} user=postgres dbname=replication application_name={} sslmode=disable gssencmode=disable",
                    conninfo_value(cluster.socket_folder().string()), cluster.port(), kReceiver);
    const auto program = (cluster.binaries().bin / "pg_receivewal").string();
    (void)run_command(
        {{program, "-d", conninfo, "--slot", kReceiver, "--create-slot", "--if-not-exists"}, cluster.user(), {}, Millis(30000)});
    if (stop_receiver) return;
    {
      const std::lock_guard held(guard);
      ++receiver_starts;
    }
    // Its end is told every second, so that old files go while it runs, too.
    std::vector<std::string> argv{program, "-d", conninfo, "-D", folder, "--slot", kReceiver, "--no-loop", "--status-interval=1"};
    if (settings().synchronous) argv.emplace_back("--synchronous");
    std::atomic<bool> end{false};
    std::thread tidy([this, folder, &end, &tidied] {
      while (!end) {
        {
          std::unique_lock held(guard);
          changed.wait_for(held, Millis(1000), [this, &end] { return end.load() || stop_receiver.load(); });
        }
        if (stop_receiver) return;
        if (steady_now() - tidied > seconds(30)) {
          tidy_receiver(folder);
          tidied = steady_now();
        }
      }
    });
    Command command{argv, cluster.user(), {}, hours(24 * 365)};
    command.stop = &stop_receiver;
    command.on_output = [](std::string_view) {};
    const auto ended = run_command(command);
    end = true;
    changed.notify_all();
    tidy.join();
    if (stop_receiver) return;
    (void)append_line(cluster.data() / "log" / "receiver.log",
                      to_text(now()) + " " + std::to_string(ended.status) + " " + tail(ended.output, 500), cluster.user());
    if (stop_work) continue;
    log_warning("the WAL receiver ended; starting it again", {{"status", ended.status}, {"said", tail(ended.output, 300)}});
    const bool gap = ended.output.find("has already been removed") != std::string::npos ||
                     ended.output.find("invalidated") != std::string::npos || ended.output.find("can no longer") != std::string::npos;
    const bool foreign = ended.output.find("is ahead of the WAL flush position") != std::string::npos;
    if (gap || foreign) {
      // What it has stays for restores, in a folder beside; it begins anew from now on.
      log_error("the receiver has a gap; it begins anew, and the repository has what is missing", {{"folder", folder.string()}});
      Session session(cluster.conninfo("postgres"));
      (void)session.ask(sql::continuity::drop_slot);
      (void)storage.run(
          [folder, stamp = now().time_since_epoch().count()]() -> Result<void> {
            std::error_code ec;
            fs::rename(folder, folder.string() + kUntil + std::to_string(stamp), ec);
            return {};
          },
          kStorageLimit);
    }
    wait = steady_now() - began > seconds(30) ? Millis(500) : std::min(wait * 2, Millis(10000));
  }
}

}  // namespace enishi::cluster
