-- What was handed over to a legacy system while Enishi owns, counted on both sides, so that a database that was taken back is noticed; and what was
-- changed there meanwhile, by key (docs/takeover/switch.md).

-- Batches of the reverse stream. A number is noted here before the source commits it, and each attempt has one of its own: a source that knows a later
-- one has been written to by an Enishi that this database does not remember.
create table takeover_reversal (
  domain text primary key references takeover_domain on delete cascade,
  epoch bigint not null,                    -- of the fence, which stays the same while Enishi owns
  begun bigint not null,                    -- the last number that was given
  done bigint not null                      -- the last one that the source is known to have committed
);

-- The last batch that each record went with, since Enishi owns: what a source that was taken back has lost is written again, and a revert
-- compares these.
create table takeover_reversed (
  domain text not null references takeover_domain on delete cascade,
  record_id uuid not null,
  batch bigint not null,
  primary key (domain, record_id)
);

-- Records that somebody else changed at the source while Enishi owns.
create table takeover_foreign (
  domain text not null references takeover_domain on delete cascade,
  legacy_key text not null,
  times bigint not null default 1,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now(),
  primary key (domain, legacy_key)
);
grant delete on takeover_reversal, takeover_reversed, takeover_foreign to enishi_app;

-- Up to which key a copy's customers were looked at for persons who are there twice; '' when the copy ends, null when all were.
alter table takeover_domain add column matched_to text;

alter table takeover_alarm drop constraint takeover_alarm_kind_check;
alter table takeover_alarm add constraint takeover_alarm_kind_check
  check (kind in ('FOREIGN_CHANGE', 'SOURCE_AHEAD', 'SOURCE_BEHIND', 'FENCE_OPEN', 'REVERSE_FAILED', 'SLOT_LOST', 'SLOT_GIVEN_UP'));

-- The next number, before the source commits it. Under another fence than before, counting begins anew.
create function begin_reversal(of_domain text, of_epoch bigint, source_batch bigint) returns bigint language plpgsql as $$
declare
  given bigint;
begin
  delete from public.takeover_reversed r where r.domain = of_domain
     and not exists (select from public.takeover_reversal x where x.domain = of_domain and x.epoch = of_epoch);
  insert into public.takeover_reversal as r (domain, epoch, begun, done) values (of_domain, of_epoch, source_batch + 1, 0)
  on conflict (domain) do update set epoch = excluded.epoch,
     begun = case when r.epoch = excluded.epoch then greatest(r.begun + 1, excluded.begun) else excluded.begun end,
     done = case when r.epoch = excluded.epoch then r.done else 0 end
  returning begun into given;
  return given;
end $$;

create function end_reversal(of_domain text, of_epoch bigint, of_batch bigint, records uuid[]) returns void language sql as $$
  insert into public.takeover_reversed as r (domain, record_id, batch) select of_domain, w, of_batch from unnest(records) w order by w
  on conflict (domain, record_id) do update set batch = greatest(r.batch, excluded.batch);
  update public.takeover_reversal r set done = greatest(r.done, of_batch) where r.domain = of_domain and r.epoch = of_epoch;
$$;

-- The source has batches up to `source_batch` only: what went with later ones is queued again. How many records that are.
create function send_again(of_domain text, source_batch bigint) returns bigint language plpgsql as $$
declare
  n bigint;
begin
  insert into public.takeover_reverse (domain, record_id)
  select r.domain, r.record_id from public.takeover_reversed r where r.domain = of_domain and r.batch > source_batch order by r.record_id;
  get diagnostics n = row_count;
  update public.takeover_reversal r set done = least(r.done, source_batch) where r.domain = of_domain;
  return n;
end $$;

-- Keys of records born here that the source has lost again, before its mirror had ever seen them: they get others.
create function forget_identity(of_system text, of_domain text, keys text[]) returns void language sql security definer set search_path = pg_catalog, public as $$
  delete from legacy_identity i where i.system = of_system and i.domain = of_domain and i.legacy_key = any (keys) and i.snapshot_xmax = 0
$$;
revoke execute on function forget_identity(text, text, text[]) from enishi_read;

-- As in 0018, and: what write-through changes is the legacy system's already, and nothing to be written back.
create or replace function queue_reverse() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  if coalesce(current_setting('enishi.through', true), '') <> '' and exists (select from domain_ownership o where o.domain = tg_argv[0] and o.state = 'LEGACY') then
    return null;
  end if;
  insert into takeover_reverse (domain, record_id)
  select tg_argv[0], r from (select (to_jsonb(case when tg_op = 'DELETE' then old else new end) ->> tg_argv[1])::uuid
                             union select (to_jsonb(old) ->> tg_argv[1])::uuid where tg_op = 'UPDATE') x(r) where r is not null;
  return null;
end $$;

-- As in 0020, but a comparison of some keys, as after a repair, does not count: a switch asks for one of everything.
create or replace function takeover_checklist(o domain_ownership, d takeover_domain) returns json language sql stable as $$
  select json_agg(json_build_object('check', x.name, 'ok', x.ok, 'value', x.value) order by x.n) from (
    select 1 as n, 'LEGACY_OWNS' as name, o.state = 'LEGACY' as ok, o.state as value
    union all select 2, 'STREAMING', d.phase = 'STREAMING', d.phase
    union all select 3, 'LAG', takeover_lag_bytes(d) <= 16777216, takeover_lag_bytes(d)::text
    union all select 4, 'NO_REJECTS', r.n = 0, r.n::text from (select count(*) as n from takeover_reject j where j.domain = o.domain and j.state = 'OPEN') r
    union all select 5, 'DIFF_CLEAN', coalesce(f.state = 'CLEAN' and f.finished_at > now() - interval '24 hours', false), f.finished_at::text
      from (select null) one left join lateral (select q.state, q.finished_at from takeover_diff_run q where q.domain = o.domain and q.kind <> 'KEYS' and q.state in ('CLEAN', 'DIFFERENT')
                                                order by q.started_at desc limit 1) f on true
    union all select 6, 'WAY_BACK', coalesce(d.mapping ->> 'reverse.sql', '') <> '', null
    union all select 7, 'NOTHING_MOVES', not exists (select from takeover_move m where m.domain = o.domain and m.state = 'RUNNING'), null) x
$$;

select grant_operation('start_takeover_repair', 'admin:all');

-- As in 0020, and: the records that were changed at the source while Enishi owns, the latest first.
create or replace function takeover_domain_json(o domain_ownership) returns json language sql stable as $$
  select json_build_object('domain', o.domain, 'state', o.state, 'system', coalesce(o.system, d.system), 'epoch', o.epoch, 'changed_at', o.changed_at, 'read_only', o.read_only,
    'alarms', (select coalesce(json_agg(takeover_alarm_json(a) order by a.last_at desc), '[]') from takeover_alarm a where a.domain = o.domain and a.acknowledged_at is null),
    'mirror', case when d.domain is not null then json_build_object('phase', d.phase, 'slot', d.slot, 'publication', d.publication, 'era', d.era, 'position', d.position,
        'source_position', d.source_position, 'lag_bytes', takeover_lag_bytes(d), 'lag_ms', takeover_lag_ms(d), 'source_at', d.source_at, 'seen_at', d.seen_at,
        'stop_code', d.stop_code, 'stop_detail', d.stop_detail, 'most_rows_per_second', d.most_rows_per_second, 'most_wal_bytes', d.most_wal_bytes) end,
    'copy', case when d.domain is not null then takeover_copy_json(d) end,
    'rejects_open', (select count(*) from takeover_reject r where r.domain = o.domain and r.state = 'OPEN'),
    'rejects_accepted', (select count(*) from takeover_reject r where r.domain = o.domain and r.state = 'ACCEPTED'),
    'reverse_waiting', (select count(*) from (select from takeover_reverse q where q.domain = o.domain limit 100000) few),
    'foreign_keys', (select coalesce(json_agg(json_build_object('legacy_key', f.legacy_key, 'times', f.times, 'last_at', f.last_at) order by f.last_at desc, f.legacy_key), '[]')
                       from (select k.legacy_key, k.times, k.last_at from takeover_foreign k where k.domain = o.domain order by k.last_at desc, k.legacy_key limit 100) f),
    'last_diff', (select takeover_diff_json(f) from takeover_diff_run f where f.domain = o.domain order by f.started_at desc limit 1),
    'last_move', (select takeover_move_json(m) from takeover_move m where m.domain = o.domain order by m.started_at desc limit 1),
    'checklist', case when d.domain is not null then takeover_checklist(o, d) end)
    from (select null) one left join takeover_domain d on d.domain = o.domain
$$;
