-- The way out of a domain that can only be read: this database was restored from before the last switch or revert, and the source knows a later epoch.
-- What Enishi had written since was written back there, so the source is where the records are. It becomes the owner again, above every epoch that it
-- has seen, and the mirror looks at every key anew. docs/takeover/switch.md

alter table takeover_move drop constraint takeover_move_kind_check;
alter table takeover_move add constraint takeover_move_kind_check check (kind in ('SWITCH', 'REVERT', 'COMPLETE', 'UNLOCK'));

-- True when it was this caller who moved it. `to_epoch` is null when the source knows nothing later: then the domain stays whose it is.
create function unlock_domain(of_domain text, from_epoch bigint, to_epoch bigint) returns boolean language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  perform pg_advisory_xact_lock(1162760521, o.number) from domain_ownership o where o.domain = of_domain;
  update domain_ownership o set read_only = null, changed_at = clock_timestamp(), epoch = coalesce(to_epoch, o.epoch),
         state = case when to_epoch is null then o.state else 'LEGACY' end,
         system = case when to_epoch is null then o.system else (select d.system from takeover_domain d where d.domain = of_domain) end
   where o.domain = of_domain and o.epoch = from_epoch and o.read_only is not null;
  if not found then return false; end if;
  if to_epoch is not null then
    -- What waits to be written back is older than what the source has.
    delete from takeover_reverse r where r.domain = of_domain;
    delete from takeover_reverse_failure f where f.domain = of_domain;
    update takeover_domain d set phase = 'CREATING', stop_code = null, stop_detail = null, changed_at = now() where d.domain = of_domain;
  end if;
  update takeover_alarm a set acknowledged_at = now() where a.domain = of_domain and a.kind = 'SOURCE_AHEAD' and a.acknowledged_at is null;
  return true;
end $$;
revoke execute on function unlock_domain(text, bigint, bigint) from enishi_read;

select grant_operation('unlock_takeover_domain', 'admin:all');

-- Children that were born here and written back have a key of the legacy system now, of which the mirror would make another id: they keep theirs.
create function adopt_children(records uuid[], derived_ids uuid[], ids uuid[]) returns void language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  delete from legacy_child l using unnest(records) r(id) where l.derived between child_id(r.id, '8000-000000000000') and child_id(r.id, '8fff-ffffffffffff');
  insert into legacy_child (derived, id) select x.derived, x.id from unnest(derived_ids, ids) x(derived, id) on conflict (derived) do update set id = excluded.id;
end $$;
revoke execute on function adopt_children(uuid[], uuid[], uuid[]) from enishi_read;
