-- Masked people whose time has come are erased where their rows are ours. Rows that a legacy system owns are written only to do again what was decided (reapply_erasures), never because a date has
-- passed: the company erases there first, or the person waits until the domain is taken over.

-- Whether erasing a person, as everyone they were, writes rows of a domain that is not ours now.
create function erasure_is_theirs(person uuid) returns boolean language sql stable set search_path = pg_catalog, public as $$
  with recursive everyone(id) as (select person union select m.merged from customer_merge m join everyone e on e.id = m.kept)
  select exists (select from everyone p, domain_ownership d where (d.state not in ('LOCAL', 'OWNED') or d.read_only is not null) and case d.domain
    when 'customer' then true
    when 'inquiry' then exists (select from inquiry i where i.customer_id = p.id)
    when 'call' then exists (select from call_task t where t.customer_id = p.id) or exists (select from call_attempt a where a.customer_id = p.id)
    when 'visit' then exists (select from appointment a where a.customer_id = p.id)
    when 'compliance' then exists (select from solicitation_request r where r.customer_id = p.id) or exists (select from solicitation_ban b where b.customer_id = p.id)
    when 'goods' then exists (select from goods g where g.customer_id = p.id)
    else false end)
$$;

-- At most 20 at a time. The locks are the gate's: no domain changes hands between the question and the erasure.
create or replace function erase_due() returns setof uuid language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  e record;
begin
  if not (select bool_and(pg_try_advisory_xact_lock_shared(1162760521, d.number)) from domain_ownership d) then return; end if;
  for e in select x.customer_id, x.reason from erasure x where x.kind = 'MASKED' and x.until < current_date
             and not exists (select from erasure y where y.customer_id = x.customer_id and y.kind = 'ERASED')
             and not exists (select from legal_retention(x.customer_id)) and not erasure_is_theirs(x.customer_id) limit 20 loop
    -- A statement on a table of theirs that touches no row passes its gate.
    insert into erasure_passage default values on conflict do nothing;
    return next (erase_person(new_id(), e.customer_id, e.reason, false, true)).customer_id;
  end loop;
  delete from erasure_passage p where p.xid = pg_current_xact_id();
end $$;
revoke execute on function erasure_is_theirs(uuid) from enishi_read;
