-- name: schema_version :one pipeline
select coalesce(max(version), 0) from schema_migration
