-- A takeover that is given up before its switch: the records stay as the mirror had them and are Enishi's own, old keys resolve, and nothing of it is left
-- at the source (docs/takeover/switch.md).

alter table takeover_domain add column abandoned_at timestamptz;

alter table takeover_move drop constraint takeover_move_kind_check;
alter table takeover_move add constraint takeover_move_kind_check check (kind in ('SWITCH', 'REVERT', 'COMPLETE', 'UNLOCK', 'ABANDON'));

-- LEGACY → LOCAL. MOVED: somebody else moved the domain; EDITS_PENDING: an edit is on its way to the source.
create function abandon_domain(of_domain text, of_epoch bigint) returns text language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  perform pg_advisory_xact_lock(1162760521, o.number) from domain_ownership o where o.domain = of_domain;
  if exists (select from takeover_intent t where t.domain = of_domain and t.state = 'PENDING') then return 'EDITS_PENDING'; end if;
  if not move_domain(of_domain, 'LEGACY', of_epoch, 'LOCAL') then return 'MOVED'; end if;
  update takeover_domain d set abandoned_at = now(), stop_code = null, stop_detail = null, changed_at = now() where d.domain = of_domain;
  delete from takeover_reverse r where r.domain = of_domain;
  delete from takeover_reverse_failure f where f.domain = of_domain;
  update takeover_alarm a set acknowledged_at = now() where a.domain = of_domain and a.acknowledged_at is null;
  return null;
end $$;
revoke execute on function abandon_domain(text, bigint) from enishi_read;

select grant_operation('abandon_takeover_domain', 'admin:all');
