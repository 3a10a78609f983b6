#include "cluster/guardian_impl.hpp"

namespace enishi::cluster {

bool Guardian::Impl::observe(Session& session) {
  auto row = session.ask(sql::continuity::observe);
  if (!row) return false;
  boost::system::error_code bad;
  const auto seen = json::parse(row->text(0, 0), bad);
  if (bad || !seen.is_object()) return false;
  const std::lock_guard held(guard);
  observed = seen.get_object();
  return true;
}

void Guardian::Impl::beat(Session& session) {
  std::string status;
  {
    const std::lock_guard held(guard);
    status = status_text;
  }
  const auto begun = now();
  const auto known = session.ask(sql::continuity::has_schema);
  const bool schema = known && known->boolean(0, 0);
  const auto row = schema ? session.ask(sql::continuity::heartbeat, pg::params(status)) : session.ask(sql::continuity::bare_heartbeat);
  if (!row) {
    log_warning("no heartbeat", {{"error", row.error().detail}});
    return;
  }
  const auto done = Moment(microseconds(row->integer(0, schema ? 0 : 1)));
  auto position = session.ask(sql::continuity::position);
  auto wal = session.ask(sql::continuity::wal_on_disk);
  const std::lock_guard held(guard);
  if (position)
    if (const auto lsn = Lsn::parse(position->text(0, 0))) beats.emplace_back(std::min(done, begun), *lsn);
  if (beats.size() > 1000) beats.pop_front();
  if (wal) {
    wal_bytes = wal->integer(0, 0);
    wal_waiting = wal->integer(0, 1);
  }
  figures().heartbeat.set(unix_time(done));
}

void Guardian::Impl::take_requests(Session& session) {
  auto known = session.ask(sql::continuity::has_schema);
  if (!known || !known->boolean(0, 0)) return;
  for (;;) {
    {
      const std::lock_guard held(guard);
      if (requests.size() >= 16) return;
    }
    auto row = session.ask(sql::continuity::take_request);
    if (!row || row->empty()) return;
    Request r{std::string(row->text(0, 0)), std::string(row->text(0, 1)), std::string(row->text(0, 2))};
    if (r.kind == "MARK") {
      const auto point = restore_point(r.name, r.id);
      auto marked = session.ask(sql::continuity::mark, pg::params(point));
      Result<void> noted;
      if (marked) {
        Event mark{"mark", r.name, 1, Lsn::parse(marked->text(0, 0)).value_or(Lsn{}), now(), point};
        {
          const std::lock_guard held(guard);
          mark.timeline = static_cast<std::uint32_t>(number_of(observed, "timeline"));
        }
        noted = storage.run([disk = repository, mark] { return disk.note(mark); }, kStorageLimit);
      }
      const bool good = marked && noted;
      (void)session.ask(
          sql::continuity::finish_request,
          pg::params(r.id, good, good ? std::string(marked->text(0, 0)) : (marked ? noted.error().detail : marked.error().detail)));
      continue;
    }
    const std::lock_guard held(guard);
    requests.push_back(std::move(r));
    changed.notify_all();
  }
}

void Guardian::Impl::watch() {
  // What is watched are the settings everybody has; what writes has its own.
  Session session(cluster.conninfo("postgres"), Millis(5000));
  Session writer(cluster.conninfo("postgres"), Millis(5000), "enishi-guardian", kAlone);
  auto next_beat = steady_now(), next_request = steady_now() + Millis(1000), next_look = steady_now();
  std::string last_state;
  bool abandoned = false;
  while (!stop_work) {
    try {
      bool answers = cluster.wait_ready(Deadline::in(Millis(0)));
      if (answers && !observe(session)) {
        session.forget();
        writer.forget();
        answers = false;
      }
      if (answers) {
        hold_conf();
        synchronise();
        if (steady_now() >= next_beat) {
          beat(writer);
          judge();
          next_beat = steady_now() + pace.heartbeat;
        }
        if (!abandoned) abandoned = static_cast<bool>(writer.ask(sql::continuity::abandon_requests));
        if (steady_now() >= next_request) {
          take_requests(writer);
          next_request = steady_now() + Millis(2000);
        }
        solved("database");
      } else if (!stop_work) {
        problem("database", true, "DATABASE_DOWN", "PostgreSQL does not answer", "the reason is in the newest file of " + data() + "/log");
      }
      std::string codes;
      {
        const std::lock_guard held(guard);
        for (const auto& [topic, p] : problems) codes += p.code + " ";
        // Told at once, so that it is known when this process is killed.
        if (risk_from != Moment{}) codes += to_text(risk_from);
      }
      if (codes != last_state || steady_now() >= next_look) {
        tell();
        last_state = codes;
        next_look = steady_now() + std::min(pace.heartbeat, Millis(5000));
      }
    } catch (const std::exception& e) {
      log_warning("the guardian of backups stumbled", {{"error", e.what()}});
    }
    {
      const std::lock_guard held(guard);
      ++ticks;
    }
    changed.notify_all();
    if (!pause(pace.tick, stop_work)) break;
  }
}

Guardian::Guardian(EmbeddedCluster& cluster, BackupSettings settings, std::vector<Check> checks, Pace pace)
    : impl_(std::make_unique<Impl>(cluster, std::move(settings), std::move(checks), pace)) {
  auto* raw = impl_.get();
  {
    // An outage goes on over a restart.
    boost::system::error_code bad;
    const auto before = json::parse(slurp(raw->status_file), bad);
    if (!bad && before.is_object()) {
      raw->outage_from = parse_moment(text_of(object_of(before.get_object(), "wal"), "outage_since")).value_or(Moment{});
      raw->take_up_risk(before.get_object());
    }
  }
  raw->watcher = std::thread([raw] { raw->watch(); });
  raw->worker = std::thread([raw] { raw->work(); });
  raw->receiving = std::thread([raw] { raw->receive(); });
}

void Guardian::stop() {
  impl_->stop_work = true;
  impl_->changed.notify_all();
  for (auto* thread : {&impl_->watcher, &impl_->worker})
    if (thread->joinable()) thread->join();
  const std::lock_guard held(impl_->guard);
  if (impl_->settings().synchronous && impl_->synchronous) return;
  impl_->end_risk(now());
}

void Guardian::finish() {
  impl_->stop_receiver = true;
  impl_->changed.notify_all();
  if (impl_->receiving.joinable()) impl_->receiving.join();
}

Guardian::~Guardian() {
  stop();
  finish();
}

std::string Guardian::status() const {
  const std::lock_guard held(impl_->guard);
  return impl_->status_text;
}

bool Guardian::wait_until(const std::function<bool(const std::string& status)>& seen, Deadline deadline) const {
  std::unique_lock held(impl_->guard);
  for (;;) {
    const auto text = impl_->status_text;
    held.unlock();
    if (seen(text)) return true;
    held.lock();
    const auto ticks = impl_->ticks;
    if (!impl_->changed.wait_until(held, deadline.at, [&] { return impl_->ticks != ticks; })) return false;
  }
}

}  // namespace enishi::cluster
