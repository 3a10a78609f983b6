-- The takeover as its API and its page show it, and who may see and do what.

-- How much of the source's WAL is not stored here yet: 0 while nothing is known of a source.
create function takeover_lag_bytes(d takeover_domain) returns bigint language sql stable as $$
  select coalesce(greatest(0, d.source_position - d.position), 0)::bigint
$$;

-- How old what is missing may be: since the newest transaction that is stored, and 0 when nothing is missing.
create function takeover_lag_ms(d takeover_domain) returns bigint language sql stable as $$
  select case when takeover_lag_bytes(d) = 0 then 0 else greatest(0, extract(epoch from now() - coalesce(d.source_at, d.changed_at)) * 1000)::bigint end
$$;

create function takeover_diff_json(d takeover_diff_run) returns json language sql stable as $$
  select json_build_object('id', d.id, 'domain', d.domain, 'kind', d.kind, 'state', d.state, 'records', d.records, 'differences', d.differences, 'from_position', d.from_position,
    'to_position', d.to_position, 'started_at', d.started_at, 'finished_at', d.finished_at)
$$;

create function takeover_move_json(m takeover_move) returns json language sql stable as $$
  select json_build_object('id', m.id, 'domain', m.domain, 'kind', m.kind, 'step', m.step, 'epoch', m.epoch, 'state', m.state, 'detail', m.detail, 'actor', m.actor,
    'started_at', m.started_at, 'held_at', m.held_at, 'released_at', m.released_at, 'held_ms', round(extract(epoch from m.released_at - m.held_at) * 1000)::bigint,
    'finished_at', m.finished_at)
$$;

create function takeover_alarm_json(a takeover_alarm) returns json language sql stable as $$
  select json_build_object('id', a.id, 'domain', a.domain, 'kind', a.kind, 'detail', a.detail, 'times', a.times, 'first_at', a.first_at, 'last_at', a.last_at,
    'acknowledged_at', a.acknowledged_at)
$$;

-- Stops a move before it is decided, as any other coordinator would: by compare-and-set. The one at work finds the domain moved and goes back; a fence of
-- the past is lowered by the server's keeper. Null when there is nothing to stop any more.
create function abort_move(move uuid) returns boolean language plpgsql as $$
declare
  o record;
begin
  select w.domain, w.state, w.epoch, case w.state when 'SWITCHING' then 'LEGACY' when 'REVERTING' then 'OWNED' else w.state end as back into o
    from takeover_move m join domain_ownership w using (domain)
   where m.id = move and m.state = 'RUNNING' and (m.kind = 'SWITCH' and w.state in ('LEGACY', 'SWITCHING') or m.kind = 'REVERT' and w.state in ('OWNED', 'REVERTING'));
  if not found then return null; end if;
  return move_domain(o.domain, o.state, o.epoch, o.back);
end $$;

create function takeover_reject_json(r takeover_reject) returns json language sql stable as $$
  select json_build_object('id', r.id, 'system', r.system, 'domain', r.domain, 'legacy_key', r.legacy_key, 'state', r.state, 'code', r.code, 'detail', r.detail,
    'errors', r.errors, 'content', r.content, 'attempts', r.attempts, 'first_at', r.first_at, 'last_at', r.last_at, 'retry_at', r.retry_at, 'reason', r.reason,
    'decided_by', (select u.display_name from app_user u where u.id = r.decided_by))
$$;

create function takeover_copy_json(d takeover_domain) returns json language sql stable as $$
  select json_build_object('rows_estimate', d.rows_estimate, 'rows_done', c.rows, 'chunks', c.chunks, 'chunks_done', c.done, 'started_at', d.copy_started_at,
    'finished_at', d.copy_finished_at, 'rows_per_second', round(c.rows / c.seconds),
    'seconds_left', case when d.copy_finished_at is null and c.rows > 0 and d.rows_estimate is not null
                    then ceil(greatest(0, d.rows_estimate - c.rows) * c.seconds / c.rows) end)
    from (select coalesce(sum(k.rows) filter (where k.done_at is not null), 0) as rows, count(*) as chunks, count(k.done_at) as done,
                 greatest(0.001, extract(epoch from coalesce(d.copy_finished_at, now()) - coalesce(d.copy_started_at, now()))) as seconds
            from takeover_chunk k where k.domain = d.domain and k.era = d.era) c
$$;

-- What has to be true before a switch, as far as this database knows it; the switch itself asks again, and the source too.
create function takeover_checklist(o domain_ownership, d takeover_domain) returns json language sql stable as $$
  select json_agg(json_build_object('check', x.name, 'ok', x.ok, 'value', x.value) order by x.n) from (
    select 1 as n, 'LEGACY_OWNS' as name, o.state = 'LEGACY' as ok, o.state as value
    union all select 2, 'STREAMING', d.phase = 'STREAMING', d.phase
    union all select 3, 'LAG', takeover_lag_bytes(d) <= 16777216, takeover_lag_bytes(d)::text
    union all select 4, 'NO_REJECTS', r.n = 0, r.n::text from (select count(*) as n from takeover_reject j where j.domain = o.domain and j.state = 'OPEN') r
    union all select 5, 'DIFF_CLEAN', coalesce(f.state = 'CLEAN' and f.finished_at > now() - interval '24 hours', false), f.finished_at::text
      from (select null) one left join lateral (select q.state, q.finished_at from takeover_diff_run q where q.domain = o.domain and q.state in ('CLEAN', 'DIFFERENT')
                                                order by q.started_at desc limit 1) f on true
    union all select 6, 'WAY_BACK', coalesce(d.mapping ->> 'reverse.sql', '') <> '', null
    union all select 7, 'NOTHING_MOVES', not exists (select from takeover_move m where m.domain = o.domain and m.state = 'RUNNING'), null) x
$$;

create function takeover_domain_json(o domain_ownership) returns json language sql stable as $$
  select json_build_object('domain', o.domain, 'state', o.state, 'system', coalesce(o.system, d.system), 'epoch', o.epoch, 'changed_at', o.changed_at, 'read_only', o.read_only,
    'alarms', (select coalesce(json_agg(takeover_alarm_json(a) order by a.last_at desc), '[]') from takeover_alarm a where a.domain = o.domain and a.acknowledged_at is null),
    'mirror', case when d.domain is not null then json_build_object('phase', d.phase, 'slot', d.slot, 'publication', d.publication, 'era', d.era, 'position', d.position,
        'source_position', d.source_position, 'lag_bytes', takeover_lag_bytes(d), 'lag_ms', takeover_lag_ms(d), 'source_at', d.source_at, 'seen_at', d.seen_at,
        'stop_code', d.stop_code, 'stop_detail', d.stop_detail, 'most_rows_per_second', d.most_rows_per_second, 'most_wal_bytes', d.most_wal_bytes) end,
    'copy', case when d.domain is not null then takeover_copy_json(d) end,
    'rejects_open', (select count(*) from takeover_reject r where r.domain = o.domain and r.state = 'OPEN'),
    'rejects_accepted', (select count(*) from takeover_reject r where r.domain = o.domain and r.state = 'ACCEPTED'),
    'reverse_waiting', (select count(*) from (select from takeover_reverse q where q.domain = o.domain limit 100000) few),
    'last_diff', (select takeover_diff_json(f) from takeover_diff_run f where f.domain = o.domain order by f.started_at desc limit 1),
    'last_move', (select takeover_move_json(m) from takeover_move m where m.domain = o.domain order by m.started_at desc limit 1),
    'checklist', case when d.domain is not null then takeover_checklist(o, d) end)
    from (select null) one left join takeover_domain d on d.domain = o.domain
$$;

select grant_operation('list_takeover_domains', 'supervisor:all compliance:all admin:all');
select grant_operation('get_takeover_domain', 'supervisor:all compliance:all admin:all');
select grant_operation('check_takeover_switch', 'supervisor:all compliance:all admin:all');
select grant_operation('switch_takeover_domain', 'admin:all');
select grant_operation('revert_takeover_domain', 'admin:all');
select grant_operation('complete_takeover_domain', 'admin:all');
select grant_operation('list_takeover_moves', 'supervisor:all compliance:all admin:all');
select grant_operation('get_takeover_move', 'supervisor:all compliance:all admin:all');
select grant_operation('abort_takeover_move', 'admin:all');
select grant_operation('acknowledge_takeover_alarm', 'admin:all');
select grant_operation('list_takeover_rejects', 'supervisor:all compliance:all admin:all');
select grant_operation('accept_takeover_reject', 'admin:all');
select grant_operation('retry_takeover_reject', 'admin:all');
select grant_operation('list_takeover_diffs', 'supervisor:all compliance:all admin:all');
select grant_operation('start_takeover_diff', 'admin:all');
select grant_operation('get_takeover_diff', 'supervisor:all compliance:all admin:all');
select grant_operation('list_takeover_differences', 'supervisor:all compliance:all admin:all');
select grant_operation('resolve_legacy_key', 'operator:all supervisor:all marketing:all compliance:all admin:all');
select grant_operation('list_legacy_keys', 'operator:all supervisor:all marketing:all compliance:all admin:all');
