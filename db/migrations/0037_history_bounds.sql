-- History's partitions have bounds on both sides. Beside a default partition, whose rows may be of any moment, PostgreSQL cannot take the months in their order, and a record as of a moment was
-- looked for in every one of them; now from that moment's month back, as far as needed.

-- The months from `first` on, and all between them and those that are there; what is before them goes to history_before, what comes after them to history_after. Called by migrations and once a
-- day by the server, which finds a month to make once a month. Rows that waited in one of the two for their month move into it.
create or replace function ensure_history_partitions(first date default date_trunc('month', now())::date, months integer default 3) returns void
language plpgsql security definer set search_path = pg_catalog, public set lock_timeout = '2s' as $$
declare
  low date;
  high date;
  had_low date;
  had_high date;
  m date;
  names text[] := array(select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'public.history'::regclass);
  midnight constant text := ' 00:00+00';
  edge text;
  bounds text;
begin
  select min(to_date(substr(n, 9), 'YYYYMM')), (max(to_date(substr(n, 9), 'YYYYMM')) + interval '1 month')::date into had_low, had_high
    from unnest(names) n where n ~ '^history_[0-9]{6}$';
  low := least(date_trunc('month', first)::date, had_low);
  high := greatest((date_trunc('month', first) + make_interval(months => months))::date, had_high);
  if names @> array['history_before', 'history_after']
     and not exists (select from generate_series(low::timestamp, high::timestamp - interval '1 day', interval '1 month') g(m) where not 'history_' || to_char(g.m, 'YYYYMM') = any (names)) then
    return;
  end if;
  foreach edge in array array['history_before', 'history_after'] loop
    if edge = any (names) then execute format('alter table public.history detach partition public.%I', edge); end if;
  end loop;
  m := low;
  while m < high loop
    if not 'history_' || to_char(m, 'YYYYMM') = any (names) then
      execute format('create table public.%I partition of public.history for values from (%L) to (%L)',
                     'history_' || to_char(m, 'YYYYMM'), m::text || midnight, (m + interval '1 month')::date::text || midnight);
      execute format('revoke insert, update on public.%I from enishi_app', 'history_' || to_char(m, 'YYYYMM'));
    end if;
    m := (m + interval '1 month')::date;
  end loop;
  foreach edge in array array['history_before', 'history_after'] loop
    bounds := case edge when 'history_before' then format('from (minvalue) to (%L)', low::text || midnight) else format('from (%L) to (maxvalue)', high::text || midnight) end;
    if edge = any (names) then
      execute format('with waited as (delete from public.%I h where case $1 when ''history_before'' then h.at >= $2 else h.at < $3 end
                        returning h.id, h.at, h.xid, h.table_name, h.row_id, h.customer_id, h.op, h.entity, h.actor, h.request_id, h.content, h.salt, h.digest)
                      insert into public.history (id, at, xid, table_name, row_id, customer_id, op, entity, actor, request_id, content, salt, digest) overriding system value
                      select w.id, w.at, w.xid, w.table_name, w.row_id, w.customer_id, w.op, w.entity, w.actor, w.request_id, w.content, w.salt, w.digest from waited w', edge)
        using edge, (low::text || midnight)::timestamptz, (high::text || midnight)::timestamptz;
      execute format('alter table public.history attach partition public.%I for values %s', edge, bounds);
    else
      execute format('create table public.%I partition of public.history for values %s', edge, bounds);
      execute format('revoke insert, update on public.%I from enishi_app', edge);
    end if;
  end loop;
end $$;

alter table history detach partition history_other;
select ensure_history_partitions();
insert into history (id, at, xid, table_name, row_id, customer_id, op, entity, actor, request_id, content, salt, digest) overriding system value
  select h.id, h.at, h.xid, h.table_name, h.row_id, h.customer_id, h.op, h.entity, h.actor, h.request_id, h.content, h.salt, h.digest from history_other h;
drop table history_other;
