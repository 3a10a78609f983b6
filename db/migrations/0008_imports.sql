-- Imports account for every row: rows in = created + updated + skipped + rejected.

create table import_job (
  id uuid primary key,
  file_name text not null check (length(file_name) between 1 and 255),
  file_sha256 bytea not null,
  media_source_id uuid not null references media_source,
  mapping jsonb not null,
  encoding text not null check (encoding in ('UTF-8', 'CP932')),
  state text not null default 'UPLOADED' check (state in ('UPLOADED', 'RUNNING', 'DONE', 'FAILED')),
  error text,
  rows_in integer not null default 0,
  created integer not null default 0,
  updated integer not null default 0,
  skipped integer not null default 0,
  rejected integer not null default 0,
  next_row integer not null default 1,      -- a run that was cut short goes on here
  content bytea,                            -- the file, until it is done; at most 20 MB
  lease_expires_at timestamptz,
  owner_id uuid references app_user,
  team_id uuid references team,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  constraint rows_add_up check (state <> 'DONE' or rows_in = created + updated + skipped + rejected)
);
create index import_job_open on import_job (created_at) where state in ('UPLOADED', 'RUNNING');

create table import_row (
  import_id uuid not null references import_job,
  row_number integer not null check (row_number >= 1),
  line integer not null,                    -- physical line where the row starts
  result text not null check (result in ('CREATED', 'UPDATED', 'SKIPPED', 'REJECTED')),
  code text,
  detail text,
  content text,                             -- of rejected rows only: what was in the file
  customer_id uuid,
  inquiry_id uuid,
  primary key (import_id, row_number)
);
revoke update on import_row from enishi_app;

insert into erasure_place values
  ('import_job.content', 'gone when the import is done'),
  ('import_row.content', 'set to null for rejected rows that name the customer');
