-- What a mirrored row costs, and a queue that is read from its beginning.

-- Each domain's own rows first: a domain whose source is away keeps many, and another one's are not looked for among them.
alter table takeover_reverse drop constraint takeover_reverse_pkey;
alter table takeover_reverse add primary key (domain, xid, id);

-- stay_erased() looked up an erasure for every mirrored row. For the mirror, the functions below pass over who was erased, and a statement that waited
-- for an erasure, which locks its customer from beginning to end, is refused and comes again.
create function mirror_unerased() returns trigger language plpgsql as $$
declare
  met boolean;
begin
  if not exists (select from public.erasure) then return null; end if;
  if tg_table_name = 'customer' then
    select exists (select from made m join public.erasure e on e.customer_id = m.id) into met;
  else
    select exists (select from made m join public.erasure e on e.customer_id = m.customer_id) into met;
  end if;
  if met then raise exception using errcode = 'serialization_failure', message = 'a person was erased meanwhile'; end if;
  return null;
end $$;
do $$
declare
  t text;
begin
  foreach t in array array['customer', 'customer_phone', 'customer_address', 'customer_email'] loop
    execute format('drop trigger b_erased on %I', t);
    execute format('create trigger b_erased before insert or update on %I for each row when (%s) execute function stay_erased()', t, when_not_mirroring());
    execute format('create trigger z_unerased_insert after insert on %I referencing new table as made for each statement when (not (%s)) execute function mirror_unerased()', t, when_not_mirroring());
    execute format('create trigger z_unerased_update after update on %I referencing new table as made for each statement when (not (%s)) execute function mirror_unerased()', t, when_not_mirroring());
  end loop;
end $$;

-- As in 0017, and: who was erased is passed over. Keys that are all new belong to nobody who could have been.
create or replace function mirror_identities(of_system text, of_domain text, of_era integer, of_xmax bigint, of_in_progress integer, keys text[], inout ids uuid[],
                                             out accepted boolean[], out all_new boolean) language plpgsql as $$
#variable_conflict use_column
declare
  made bigint;
begin
  with fresh as (
    insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress)
    select of_system, of_domain, k.key, k.id, of_era, of_xmax, of_in_progress from unnest(keys, ids) k(key, id)
    on conflict do nothing returning 1)
  select count(*) into made from fresh;
  all_new := made = cardinality(keys);
  if all_new then
    accepted := array_fill(true, array[cardinality(keys)]);
    return;
  end if;
  update legacy_identity i set era = of_era, snapshot_xmax = of_xmax, in_progress = of_in_progress, deleted = false
    from unnest(keys) k(key)
   where i.system = of_system and i.domain = of_domain and i.legacy_key = k.key
     and (i.era, i.snapshot_xmax, -i.in_progress) < (of_era, of_xmax, -of_in_progress);
  select array_agg(i.id order by k.n), array_agg((i.era, i.snapshot_xmax, i.in_progress) = (of_era, of_xmax, of_in_progress) and not i.deleted order by k.n) into ids, accepted
    from unnest(keys) with ordinality k(key, n)
    join legacy_identity i on i.system = of_system and i.domain = of_domain and i.legacy_key = k.key;
  if of_domain = 'customer' and exists (select from erasure) then
    accepted := array(select a.yes and not exists (select from erasure e where e.customer_id = a.id) from unnest(accepted, ids) with ordinality a(yes, id, n) order by a.n);
  end if;
end $$;

create or replace function mirror_absent(of_system text, of_domain text, of_era integer, of_xmax bigint, of_in_progress integer, keys text[]) returns uuid[] language plpgsql as $$
#variable_conflict use_column
declare
  gone uuid[];
begin
  with marked as (
    insert into legacy_identity as i (system, domain, legacy_key, id, era, snapshot_xmax, in_progress, deleted)
    select of_system, of_domain, k.key, new_id(), of_era, of_xmax, of_in_progress, true from unnest(keys) k(key) order by k.key
    on conflict (system, domain, legacy_key) do update set era = excluded.era, snapshot_xmax = excluded.snapshot_xmax, in_progress = excluded.in_progress, deleted = true
     where (i.era, i.snapshot_xmax, -i.in_progress) < (excluded.era, excluded.snapshot_xmax, -excluded.in_progress)
    returning i.id)
  select coalesce(array_agg(id), '{}') into gone from marked;
  if of_domain = 'customer' and exists (select from erasure) then
    gone := array(select g.id from unnest(gone) g(id) where not exists (select from erasure e where e.customer_id = g.id));
  end if;
  return gone;
end $$;
