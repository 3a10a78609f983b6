-- Imports run in the background, in chunks, each one transaction: what is needed to start one, to go on after a crash, and to show how far it is.

alter table import_job
  alter column mapping set default '[]',
  alter column content set storage external,             -- never rewritten, and compressing it costs more than the space
  add column delimiter text not null default ',' check (delimiter in (',', ';', E'\t')),
  add column header boolean not null default true,       -- the first row holds the names of the columns
  add column columns text[] not null default '{}',
  add column preview jsonb not null default '[]',        -- the first rows, until it is done
  add column suggestion jsonb not null default '[]',     -- mapping by the names of the columns
  add column blank_lines integer not null default 0,
  add column customer_initiated boolean not null default true,
  add column started_by uuid references app_user,
  add column started_at timestamptz,
  add column run_id uuid;                                -- whoever runs it now; one that lost it stops at its next chunk
create index import_job_file on import_job (media_source_id, file_sha256);
create index import_job_team on import_job (team_id, id desc);
drop index import_job_open;
create index import_job_open on import_job (started_at) where state = 'RUNNING';

alter table import_row
  add column last_line integer,                          -- of a row that spans several lines and was rejected
  add constraint content_of_rejected check (content is null or result = 'REJECTED');
create index import_row_rejected on import_row (import_id, row_number) where result = 'REJECTED';
comment on column import_row.content is 'the fields as they were in the file, a JSON array';

insert into erasure_place values ('import_job.preview', 'emptied when the import is done');

-- What the API says of an import; the parts that only the start of one needs are left out of lists.
create function import_json(j import_job, whole boolean default true) returns json language sql stable as $$
  select case when whole then to_jsonb(x) else to_jsonb(x) - 'preview' - 'suggested_mapping' end::json
    from (select j.id, j.file_name, encode(j.file_sha256, 'hex') as file_sha256, j.media_source_id, j.encoding, j.delimiter, j.header, j.columns, j.preview,
                 j.suggestion as suggested_mapping, j.mapping, j.customer_initiated, j.state, j.error, j.rows_in, j.next_row - 1 as rows_done,
                 j.created, j.updated, j.skipped, j.rejected, j.blank_lines,
                 case when j.state = 'RUNNING' and j.next_row > 1 and j.rows_in > 0 then
                   round(extract(epoch from now() - j.started_at) * (j.rows_in - j.next_row + 1) / (j.next_row - 1), 1) end as seconds_left,
                 j.owner_id, j.team_id, j.started_by, j.version, j.created_at, j.started_at, j.finished_at) x
$$;
