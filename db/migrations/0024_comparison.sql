-- A comparison that is fast. Canonical records are made for many at once, and a range of keys that was found equal is looked at by the fingerprints
-- of its rows until one of them changes (docs/takeover/switch.md).

create or replace function canonical_customers(wanted uuid[]) returns table (id uuid, record jsonb) language sql stable as $$
  select c.id, jsonb_build_object('display_name', c.display_name, 'kana', c.kana, 'birth_date', c.birth_date, 'notes', c.notes,
           -- A set: neither order nor repetition is content.
           'flags', case when cardinality(c.flags) < 2 then to_jsonb(c.flags)
                         else (select jsonb_agg(f.flag) from (select distinct u.flag collate "C" as flag from unnest(c.flags) u(flag) order by 1) f) end,
           'custom', c.custom, 'deleted', c.deleted_at is not null,
           'phones', (select coalesce(jsonb_agg(jsonb_build_object('raw', p.raw, 'note', p.note) order by p.position, p.id), '[]')
                        from public.customer_phone p where p.customer_id = c.id and p.deleted_at is null),
           'addresses', (select coalesce(jsonb_agg(jsonb_build_object('postal_code', a.postal_code, 'prefecture', a.prefecture, 'city', a.city, 'town', a.town,
                                  'street', a.street, 'building', a.building, 'note', a.note) order by a.position, a.id), '[]')
                           from public.customer_address a where a.customer_id = c.id and a.deleted_at is null),
           'emails', (select coalesce(jsonb_agg(jsonb_build_object('email', e.email) order by e.position, e.id), '[]')
                        from public.customer_email e where e.customer_id = c.id and e.deleted_at is null))
    from public.customer c where c.id = any (wanted)
$$;
create or replace function canonical_customer(wanted uuid) returns jsonb language sql stable as $$
  select c.record from public.canonical_customers(array[wanted]) c
$$;

-- All domains, many at once; an id that is not there gives no row.
create function canonical_records(of_domain text, of_system text, wanted uuid[]) returns table (id uuid, record jsonb) language plpgsql stable as $$
begin
  if of_domain = 'customer' then
    return query select c.id, c.record from public.canonical_customers(wanted) c;
  else
    return query select w.id, c.record from unnest(wanted) w(id) cross join lateral (select public.canonical_record(of_domain, of_system, w.id) as record) c;
  end if;
end $$;

-- What the rows behind the records of these keys are, in 128 bits: equal when no column of any row changed. Null where a domain has none: its records hang on
-- more than their own rows.
create function rows_fingerprint(of_system text, of_domain text, keys text[]) returns text language plpgsql stable as $$
begin
  if of_domain <> 'customer' then return null; end if;
  return (
    with i as materialized (
      select k.legacy_key, k.id from public.legacy_identity k where k.system = of_system and k.domain = of_domain and not k.deleted and k.legacy_key = any (keys)),
    r as (
      select 'c' || i.legacy_key || c::text as row_text from i join public.customer c on c.id = i.id
      union all select 'p' || p::text from i join public.customer_phone p on p.customer_id = i.id and p.deleted_at is null
      union all select 'a' || a::text from i join public.customer_address a on a.customer_id = i.id and a.deleted_at is null
      union all select 'e' || e::text from i join public.customer_email e on e.customer_id = i.id and e.deleted_at is null)
    select count(*) || '/' || coalesce(sum(hashtextextended(r.row_text, 1)), 0) || '/' || coalesce(sum(hashtextextended(r.row_text, 2)), 0) from r);
end $$;

-- Ranges of keys that were equal record by record, with the fingerprints of their rows on both sides in the snapshots that showed it.
create table takeover_verified (
  domain text not null references takeover_domain on delete cascade,
  to_key text not null,                     -- up to here, from behind the range before
  form bytea not null,                      -- of the statements that were asked: another mapping, or another release, verifies anew
  here text not null,
  there text not null,
  verified_at timestamptz not null default now(),
  primary key (domain, to_key)
);
grant delete on takeover_verified to enishi_app;

-- How old what is missing may be: since the newest transaction that is stored, or since nothing was missing, whichever came later. After a quiet hour
-- the first change is not an hour late.
alter table takeover_domain add column caught_up_at timestamptz;
create or replace function takeover_lag_ms(d takeover_domain) returns bigint language sql stable as $$
  select case when takeover_lag_bytes(d) = 0 then 0
              else greatest(0, extract(epoch from now() - coalesce(greatest(d.source_at, d.caught_up_at), d.changed_at)) * 1000)::bigint end
$$;
