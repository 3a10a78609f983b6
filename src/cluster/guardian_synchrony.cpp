#include "cluster/guardian_impl.hpp"

namespace enishi::cluster {

void Guardian::Impl::end_risk(Moment until) {
  if (risk_from == Moment{}) return;
  const double span = std::chrono::duration<double>(until - risk_from).count();
  risk_seconds += span;
  const json::object line{{"from", to_text(risk_from)}, {"to", to_text(until)}, {"seconds", span}};
  (void)append_line(cluster.data() / kRiskFile, json::serialize(line), cluster.user());
  risk_from = Moment{};
}

/// An interval that was open when the Guardian before this one was killed: it goes on until commits wait, or ended with what that one knew.
void Guardian::Impl::take_up_risk(const json::object& before) {
  const auto& risks = field(before, "not_rpo_0");
  if (!risks.is_array() || risks.get_array().empty() || !risks.get_array().back().is_object()) return;
  const auto& last = risks.get_array().back().get_object();
  const auto from = parse_moment(text_of(last, "from"));
  if (!from || !field(last, "to").is_null()) return;
  if (slurp(cluster.data() / kRiskFile).find("\"from\":\"" + to_text(*from) + "\"") != std::string::npos) return;  // it was ended since
  risk_from = *from;
  if (!settings().synchronous) end_risk(parse_moment(text_of(before, "at")).value_or(now()));
}

/// Sets and clears synchronous_standby_names. Called at every tick of a database that answers.
void Guardian::Impl::synchronise() {
  if (!settings().synchronous) return;
  bool change = false;
  {
    const std::lock_guard held(guard);
    const auto receiver = object_of(observed, "receiver");
    const bool streams = text_of(receiver, "state") == "streaming";
    const auto flushed = lsn_of(receiver, "flush_lsn"), written = lsn_of(observed, "lsn");
    const bool caught_up = streams && flushed.at + kCaughtUp >= written.at && flushed.at > 0;
    // A receiver that is frozen or whose disk is full stays connected: what it has flushed does not move while there is something to flush.
    if (streams && (flushed != last_flushed || flushed >= written)) moved = steady_now();
    last_flushed = flushed;
    const bool out = steady_now() - moved > seconds(settings().sync_outage_seconds);
    if (text_of(observed, "synchronous_commit") == "remote_apply") {
      // A receiver applies nothing: every commit would wait for ever.
      change = std::exchange(synchronous, false);
    } else if (!synchronous && caught_up) {
      synchronous = change = true;
    } else if (synchronous && out) {
      synchronous = false;
      change = true;
      risk_from = now() - duration_cast<microseconds>(steady_now() - moved);
    }
  }
  if (change) write_conf();
  std::unique_lock held(guard);
  // The interval ends when the server itself waits, not when it was told to.
  const bool waits = synchronous && text_of(object_of(observed, "receiver"), "sync_state") == "sync";
  if (waits) end_risk(now());
  if (!waits && risk_from == Moment{} && (!synchronous || text_of(observed, "synchronous_standby_names") != kReceiver)) risk_from = now();
  const bool risky = risk_from != Moment{} && since(risk_from) > 3;  // a start takes a moment
  held.unlock();
  if (text_of(observed, "synchronous_commit") == "remote_apply")
    problem("synchronous", true, "REMOTE_APPLY",
            "synchronous_commit is remote_apply, for which no receiver can ever vouch: commits do not wait for it",
            "set synchronous_commit = on in " + data() + "/postgresql.local.conf");
  else if (risky)
    problem("synchronous", true, "NOT_RPO_0", "commits do not wait for the receiver: a lost disk would cost the newest of them",
            "see why the receiver is away: enishi status --data " + data());
  else
    solved("synchronous");
}

}  // namespace enishi::cluster
