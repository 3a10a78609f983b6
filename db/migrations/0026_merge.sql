-- Two records that are one person (merge_candidate, 0017) become one: what hangs on the one goes over to the other, which is hidden and for ever
-- means the one that was kept. Its old keys resolve to that one; the identity itself stays, for the mirror and the reverse stream.
create table customer_merge (
  merged uuid primary key references customer,
  kept uuid not null references customer,   -- never one that was merged itself
  candidate_id uuid references merge_candidate,
  merged_by uuid references app_user,
  merged_at timestamptz not null default now(),
  check (merged <> kept)
);
create index customer_merge_kept on customer_merge (kept);
revoke insert, update on customer_merge from enishi_app;
create index merge_candidate_open on merge_candidate (created_at desc, id desc) where state = 'OPEN';

-- Whom an id means today.
create function living_customer(wanted uuid) returns uuid language sql stable as $$
  select coalesce((select m.kept from public.customer_merge m where m.merged = wanted), wanted)
$$;

create function merge_side(wanted uuid) returns json language sql stable as $$
  select json_build_object('id', c.id, 'display_name', c.display_name, 'kana', c.kana, 'birth_date', c.birth_date, 'notes', c.notes, 'created_at', c.created_at, 'hidden', c.deleted_at is not null,
    'phones', (select coalesce(json_agg(p.raw order by p.position, p.id), '[]') from customer_phone p where p.customer_id = c.id and p.deleted_at is null),
    'addresses', (select coalesce(json_agg(concat_ws(' ', a.postal_code, nullif(a.prefecture || a.city || a.town || a.street, ''), nullif(a.building, '')) order by a.position, a.id), '[]')
                    from customer_address a where a.customer_id = c.id and a.deleted_at is null),
    'emails', (select coalesce(json_agg(e.email order by e.position, e.id), '[]') from customer_email e where e.customer_id = c.id and e.deleted_at is null),
    'legacy_keys', (select coalesce(json_agg(json_build_object('system', i.system, 'legacy_key', i.legacy_key) order by i.system, i.legacy_key), '[]')
                      from legacy_identity i where i.id = c.id and i.domain = 'customer' and not i.deleted),
    'inquiries', (select count(*) from inquiry q where q.customer_id = c.id and q.deleted_at is null))
    from customer c where c.id = wanted
$$;

create function merge_candidate_json(m merge_candidate) returns json language sql stable as $$
  select json_build_object('id', m.id, 'state', m.state, 'reasons', m.reasons, 'created_at', m.created_at, 'decided_at', m.decided_at,
    'decided_by', (select u.display_name from app_user u where u.id = m.decided_by),
    'kept_id', case when m.state = 'MERGED' then living_customer(m.customer_a) end,
    'customers', json_build_array(merge_side(m.customer_a), merge_side(m.customer_b)))
$$;

-- What is open, for a decision. Rows of both customers are locked in one order, so two decisions about one person come one after the other.
create function decide_candidate(candidate uuid) returns merge_candidate language plpgsql as $$
declare
  c merge_candidate;
begin
  select * into c from public.merge_candidate m where m.id = candidate for update;
  if c.id is not null and c.state <> 'OPEN' then
    perform public.refuse('409', 'CANDIDATE_DECIDED', 'Somebody has decided about these two already.', jsonb_build_object('state', c.state));
  end if;
  return c;
end $$;

-- The kept one after the merge; null when there is no such candidate. Whatever moves passes the rules of its table, and the gates of the domains: while
-- a legacy system owns one of them, this is refused.
create function merge_customers(candidate uuid, keep uuid, by_user uuid) returns merge_candidate
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  c merge_candidate := decide_candidate(candidate);
  lose uuid;
  k customer;
  l customer;
  banned boolean;
begin
  if c.id is null then return null; end if;
  lose := case keep when c.customer_a then c.customer_b when c.customer_b then c.customer_a end;
  if lose is null then
    perform refuse('422', 'NOT_OF_CANDIDATE', 'The customer to keep is none of these two.', jsonb_build_object('keep', keep));
  end if;
  perform from customer x where x.id in (keep, lose) order by x.id for update;
  select * into k from customer x where x.id = keep;
  select * into l from customer x where x.id = lose;
  if k.deleted_at is not null or l.deleted_at is not null then
    perform refuse('409', 'CUSTOMER_HIDDEN', 'One of the two is hidden; nothing is left to merge.');
  end if;
  -- The gate of the domain speaks first.
  update customer x set
    kana = case when k.kana = '' then l.kana else k.kana end, kana_key = case when k.kana = '' then l.kana_key else k.kana_key end,
    birth_date = coalesce(k.birth_date, l.birth_date),
    notes = left(concat_ws(E'\n', nullif(k.notes, ''), case when l.notes <> k.notes then nullif(l.notes, '') end), 10000),
    flags = array(select distinct f from unnest(k.flags || l.flags) f order by f), custom = l.custom || k.custom,
    owner_id = coalesce(k.owner_id, l.owner_id), team_id = coalesce(k.team_id, l.team_id)
   where x.id = keep;

  update customer_phone p set deleted_at = now() where p.customer_id = lose and p.deleted_at is null
     and exists (select from customer_phone q where q.customer_id = keep and q.deleted_at is null and coalesce(q.e164, q.raw) = coalesce(p.e164, p.raw)
                                                   and q.extension is not distinct from p.extension);
  update customer_phone p set customer_id = keep, position = p.position + (select coalesce(max(q.position) + 1, 0) from customer_phone q where q.customer_id = keep)
   where p.customer_id = lose and p.deleted_at is null;
  update customer_address a set deleted_at = now() where a.customer_id = lose and a.deleted_at is null
     and exists (select from customer_address q where q.customer_id = keep and q.deleted_at is null and q.address_key = a.address_key);
  update customer_address a set customer_id = keep, position = a.position + (select coalesce(max(q.position) + 1, 0) from customer_address q where q.customer_id = keep)
   where a.customer_id = lose and a.deleted_at is null;
  update customer_email e set deleted_at = now() where e.customer_id = lose and e.deleted_at is null
     and exists (select from customer_email q where q.customer_id = keep and q.deleted_at is null and lower(q.email) = lower(e.email));
  update customer_email e set customer_id = keep, position = e.position + (select coalesce(max(q.position) + 1, 0) from customer_email q where q.customer_id = keep)
   where e.customer_id = lose and e.deleted_at is null;

  -- A ban of either is one of the person: tasks of the other wait, calls that are being made and visits that are booked are decided first.
  banned := active_ban(keep) is not null;
  update inquiry x set customer_id = keep where x.customer_id = lose;
  update hearing_sheet x set customer_id = keep where x.customer_id = lose;
  update hearing_sheet_conflict x set customer_id = keep where x.customer_id = lose;
  update call_attempt x set customer_id = keep where x.customer_id = lose;
  update solicitation_request x set customer_id = keep where x.customer_id = lose;
  update call_task x set customer_id = keep, state = case when banned and x.state in ('READY', 'SCHEDULED') then 'BLOCKED' else x.state end,
         blocked_reason = case when banned and x.state in ('READY', 'SCHEDULED') then 'RESOLICITATION_BANNED' else x.blocked_reason end
   where x.customer_id = lose;
  update appointment x set customer_id = keep where x.customer_id = lose;
  update goods x set customer_id = keep where x.customer_id = lose;
  update solicitation_ban x set customer_id = keep where x.customer_id = lose;

  update customer x set deleted_at = now() where x.id = lose;
  update customer_merge m set kept = keep where m.kept = lose;
  insert into customer_merge (merged, kept, candidate_id, merged_by) values (lose, keep, c.id, by_user);
  update merge_candidate m set state = 'MERGED', decided_at = now(), decided_by = by_user where m.id = c.id returning * into c;
  -- Whoever may be the hidden one may be the one that was kept.
  insert into merge_candidate (customer_a, customer_b, reasons)
  select least(o.other, keep), greatest(o.other, keep), o.reasons
    from (select case m.customer_a when lose then m.customer_b else m.customer_a end as other, m.reasons from merge_candidate m
           where m.state = 'OPEN' and lose in (m.customer_a, m.customer_b)) o
   where o.other <> keep on conflict do nothing;
  delete from merge_candidate m where m.state = 'OPEN' and lose in (m.customer_a, m.customer_b);
  return c;
end $$;

create function separate_customers(candidate uuid, by_user uuid) returns merge_candidate language plpgsql as $$
declare
  c merge_candidate := decide_candidate(candidate);
begin
  if c.id is null then return null; end if;
  update merge_candidate m set state = 'DIFFERENT', decided_at = now(), decided_by = by_user where m.id = candidate returning * into c;
  return c;
end $$;
revoke execute on function merge_customers(uuid, uuid, uuid) from enishi_read;

select grant_operation('list_merge_candidates', 'supervisor:all compliance:all admin:all');
select grant_operation('get_merge_candidate', 'supervisor:all compliance:all admin:all');
select grant_operation('merge_customers', 'supervisor:all admin:all');
select grant_operation('separate_customers', 'supervisor:all admin:all');

-- Who is erased is erased as everyone they were.
create function erase_merged() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  m record;
begin
  for m in select x.merged from customer_merge x where x.kept = new.customer_id
              and not exists (select from erasure e where e.customer_id = x.merged and e.kind in (new.kind, 'ERASED')) loop
    perform erase_person(new_id(), m.merged, new.reason, new.kind = 'MASKED', true);
  end loop;
  return null;
end $$;
create trigger y_merged after insert on erasure for each row execute function erase_merged();
revoke execute on function erase_merged() from enishi_read;
