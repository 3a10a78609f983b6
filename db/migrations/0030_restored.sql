-- What a restore has to get right: who was erased is erased again whoever owns the domain at the restored moment, and a list as of a moment shows
-- what was deleted since.

-- The transactions that do again what was decided elsewhere, or carry out what is due: the gate lets their erasures pass. A row stands here only while
-- one of the functions below runs, and nobody else can write it.
create table erasure_passage (
  xid xid8 primary key default pg_current_xact_id()
);
revoke insert, update on erasure_passage from enishi_app;

-- As in 0023, and: an erasure that is decided passes, for a person stays erased in a legacy system's domain too (stay_erased() keeps its mirror out).
create or replace function gate() returns trigger language plpgsql as $$
declare
  o record;
begin
  if not pg_try_advisory_xact_lock_shared(1162760521, tg_argv[1]::integer) then
    raise exception using errcode = 'EN001', message = 'the domain ' || tg_argv[0] || ' is changing hands';
  end if;
  select state, read_only, system into o from public.domain_ownership where domain = tg_argv[0];
  if public.mirroring() then
    if o.state in ('LEGACY', 'SWITCHING') then return null; end if;
    raise exception using errcode = 'EN409', constraint = 'NOT_MIRRORED', message = 'the domain ' || tg_argv[0] || ' is not a legacy system''s any more';
  end if;
  if o.read_only is null and o.state in ('LOCAL', 'OWNED') then return null; end if;
  if public.erasing() then
    if exists (select from public.erasure_passage p where p.xid = pg_current_xact_id()) then return null; end if;
  end if;
  if o.read_only is not null then
    raise exception using errcode = 'EN409', constraint = 'DOMAIN_READ_ONLY', message = format('The domain %s can only be read: %s', tg_argv[0], o.read_only);
  end if;
  if o.state = 'LEGACY' then
    if coalesce(current_setting('enishi.through', true), '') <> '' then
      perform public.pass_gate(tg_argv[0]);
      return null;
    end if;
    raise exception using errcode = 'EN002', message = format('The domain %s belongs to a legacy system, %s, which cannot be told of this change; make it there.', tg_argv[0], o.system),
      detail = json_build_object('domain', tg_argv[0], 'system', o.system)::text;
  end if;
  raise exception using errcode = 'EN001', message = 'the domain ' || tg_argv[0] || ' is changing hands';
end $$;

-- Masked people whose time has come; at most 20 at a time.
create or replace function erase_due() returns setof uuid language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  e record;
begin
  for e in select x.customer_id, x.reason from erasure x where x.kind = 'MASKED' and x.until < current_date
             and not exists (select from erasure y where y.customer_id = x.customer_id and y.kind = 'ERASED')
             and not exists (select from legal_retention(x.customer_id)) limit 20 loop
    insert into erasure_passage default values on conflict do nothing;
    return next (erase_person(new_id(), e.customer_id, e.reason, false, true)).customer_id;
  end loop;
  delete from erasure_passage p where p.xid = pg_current_xact_id();
end $$;

-- Does again what a list of erasures says and this database does not know: [{id, customer_id, kind, reason, until}]. How many people that were.
-- Somebody who is not here yet is noted, so that nothing brings them in.
create or replace function reapply_erasures(list jsonb) returns integer language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  e record;
  n integer := 0;
begin
  insert into erasure_passage default values on conflict do nothing;
  for e in select x.id, x.customer_id, x.kind, x.reason, x.until, x.actor, x.at
             from jsonb_to_recordset(list) x(id uuid, customer_id uuid, kind text, reason text, until date, actor text, at timestamptz)
            where not exists (select from erasure y where y.customer_id = x.customer_id and y.kind in (x.kind, 'ERASED')) order by x.at loop
    n := n + 1;
    if exists (select from customer c where c.id = e.customer_id) then
      perform erase_person(e.id, e.customer_id, e.reason, e.kind = 'MASKED', true);
      update erasure y set at = e.at, actor = e.actor, until = e.until where y.id = e.id;
    else
      insert into erasure (id, customer_id, kind, reason, until, actor, at) values (e.id, e.customer_id, e.kind, e.reason, e.until, e.actor, e.at) on conflict do nothing;
    end if;
  end loop;
  delete from erasure_passage p where p.xid = pg_current_xact_id();
  return n;
end $$;

-- Rows that are there no more, by their ids. Deleting is rare: business rows are hidden instead.
create index history_deleted on history (table_name, row_id) where op = 'DELETE';

-- Rows of a table as they were, by id after `after`: those that are there now, and those that were deleted since. Each id is looked up once, so a page
-- costs as many look-ups as it has rows. A row that was not there at that moment comes without content.
create or replace function records_as_of(wanted text, moment timestamptz, after uuid, most integer)
returns table (row_id uuid, at timestamptz, op text, actor text, content jsonb, customer_id uuid, known boolean) language plpgsql stable security definer set search_path = pg_catalog, public as $$
begin
  if not wanted = any (history_tables()) then return; end if;
  return query execute format(
    'select r.id, h.at, h.op, h.actor, h.content, h.customer_id, h.id is not null
       from ((select %1$I as id from %2$I where %1$I > $1 order by %1$I limit $2) union
             (select distinct d.row_id from history d where d.op = ''DELETE'' and d.table_name = $3 and d.row_id > $1 and d.at > $4 order by d.row_id limit $2)
             order by id limit $2) r
       left join lateral (select x.id, x.at, x.op, x.actor, x.content, x.customer_id from history x where x.row_id = r.id and x.table_name = $3 and x.at <= $4
                           order by x.at desc, x.id desc limit 1) h on true order by r.id',
    case wanted when 'hearing_sheet' then 'inquiry_id' else 'id' end, wanted) using after, most, wanted, moment;
end $$;
