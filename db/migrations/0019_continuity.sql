-- What the guardian of backups says (src/cluster/guardian.hpp): its newest status, and what people ask it to do. The heartbeat is the
-- commit that keeps a quiet hour restorable: every 10 seconds there is a position with a time.
create table continuity (
  singleton boolean primary key default true check (singleton),
  at timestamptz not null,
  status jsonb not null
);
revoke insert, update on continuity from enishi_app;

create table continuity_request (
  id uuid primary key default new_id(),
  kind text not null check (kind in ('BACKUP', 'DRILL', 'MARK')),
  name text check ((kind = 'MARK') = (name is not null) and name ~ '^[A-Za-z0-9._-]{1,60}$'),
  state text not null default 'WAITING' check (state in ('WAITING', 'RUNNING', 'DONE', 'FAILED')),
  detail text,
  requested_by text not null,
  requested_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz
);
create index continuity_request_open on continuity_request (requested_at) where state in ('WAITING', 'RUNNING');
create index continuity_request_newest on continuity_request (requested_at desc, id desc);
revoke update on continuity_request from enishi_app;

select grant_operation('get_continuity', 'compliance:all admin:all');
select grant_operation('list_continuity_requests', 'compliance:all admin:all');
select grant_operation('create_continuity_request', 'admin:all');
