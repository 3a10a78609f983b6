-- Media sources, item categories, definitions of custom fields: short lists that everybody reads.

-- name: list_media_sources :one pipeline
-- (also inactive ones?)
select json_build_object('items', coalesce(json_agg(json_build_object('id', m.id, 'code', m.code, 'name', m.name, 'dnis', m.dnis, 'position', m.position, 'active', m.active,
         'version', m.version) order by m.position, m.code), '[]'), 'next_cursor', null)
  from media_source m where m.deleted_at is null and (m.active or $1::boolean)

-- name: get_media_source :optional pipeline
select json_build_object('id', m.id, 'code', m.code, 'name', m.name, 'dnis', m.dnis, 'position', m.position, 'active', m.active, 'version', m.version), m.version
  from media_source m where m.id = $1 and m.deleted_at is null

-- name: create_media_source :one
with made as (insert into media_source (id, code, name, dnis, position, active) values ($1, $2, $3, $4, $5, $6)
              returning id, code, name, dnis, position, active, version)
select answer(201, to_json(m), m.version::text) as body, m.version::text as etag from made m

-- name: update_media_source :optional
-- (id, version, code, name, dnis?, dnis, position, active)
with done as (update media_source m set code = coalesce($3, code), name = coalesce($4, name), dnis = case when $5::boolean then $6 else dnis end,
                     position = coalesce($7::integer, position), active = coalesce($8::boolean, active)
               where m.id = $1 and m.version = $2::integer and m.deleted_at is null
              returning m.id, m.code, m.name, m.dnis, m.position, m.active, m.version)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: hide_media_source :optional
with done as (update media_source m set deleted_at = now(), active = false where m.id = $1 and m.version = $2::integer and m.deleted_at is null
              returning m.id, m.version, m.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: list_item_categories :one pipeline
select json_build_object('items', coalesce(json_agg(json_build_object('id', c.id, 'code', c.code, 'name_ja', c.name_ja, 'name_en', c.name_en,
         'home_visit_law', c.home_visit_law, 'position', c.position, 'active', c.active, 'version', c.version) order by c.position, c.code), '[]'), 'next_cursor', null)
  from item_category c where c.deleted_at is null and (c.active or $1::boolean)

-- name: get_item_category :optional pipeline
select json_build_object('id', c.id, 'code', c.code, 'name_ja', c.name_ja, 'name_en', c.name_en, 'home_visit_law', c.home_visit_law, 'position', c.position,
         'active', c.active, 'version', c.version), c.version
  from item_category c where c.id = $1 and c.deleted_at is null

-- name: create_item_category :one
with made as (insert into item_category (id, code, name_ja, name_en, home_visit_law, position, active) values ($1, $2, $3, $4, $5, $6, $7)
              returning id, code, name_ja, name_en, home_visit_law, position, active, version)
select answer(201, to_json(m), m.version::text) as body, m.version::text as etag from made m

-- name: update_item_category :optional
-- (id, version, code, name_ja, name_en, home_visit_law, position, active)
with done as (update item_category c set code = coalesce($3, code), name_ja = coalesce($4, name_ja), name_en = coalesce($5, name_en),
                     home_visit_law = coalesce($6::boolean, home_visit_law), position = coalesce($7::integer, position), active = coalesce($8::boolean, active)
               where c.id = $1 and c.version = $2::integer and c.deleted_at is null
              returning c.id, c.code, c.name_ja, c.name_en, c.home_visit_law, c.position, c.active, c.version)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: hide_item_category :optional
with done as (update item_category c set deleted_at = now(), active = false where c.id = $1 and c.version = $2::integer and c.deleted_at is null
              returning c.id, c.version, c.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: list_custom_fields :one pipeline
-- (entity or null)
select json_build_object('items', coalesce(json_agg(json_build_object('id', f.id, 'entity', f.entity, 'key', f.key, 'label_ja', f.label_ja, 'label_en', f.label_en,
         'kind', f.kind, 'choices', f.choices, 'required', f.required, 'position', f.position, 'version', f.version) order by f.entity, f.position, f.key), '[]'), 'next_cursor', null)
  from custom_field f where f.deleted_at is null and ($1::text is null or f.entity = $1)

-- name: get_custom_field :optional pipeline
select json_build_object('id', f.id, 'entity', f.entity, 'key', f.key, 'label_ja', f.label_ja, 'label_en', f.label_en, 'kind', f.kind, 'choices', f.choices,
         'required', f.required, 'position', f.position, 'version', f.version), f.version
  from custom_field f where f.id = $1 and f.deleted_at is null

-- name: create_custom_field :one
with made as (insert into custom_field (id, entity, key, label_ja, label_en, kind, choices, required, position) values ($1, $2, $3, $4, $5, $6, $7::text[], $8, $9)
              returning id, entity, key, label_ja, label_en, kind, choices, required, position, version)
select answer(201, to_json(m), m.version::text) as body, m.version::text as etag from made m

-- name: update_custom_field :optional
-- (id, version, label_ja, label_en, choices, required, position): entity, key and kind stay, for values of them are stored.
with done as (update custom_field f set label_ja = coalesce($3, label_ja), label_en = coalesce($4, label_en), choices = coalesce($5::text[], choices),
                     required = coalesce($6::boolean, required), position = coalesce($7::integer, position)
               where f.id = $1 and f.version = $2::integer and f.deleted_at is null
              returning f.id, f.entity, f.key, f.label_ja, f.label_en, f.kind, f.choices, f.required, f.position, f.version)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: hide_custom_field :optional
with done as (update custom_field f set deleted_at = now() where f.id = $1 and f.version = $2::integer and f.deleted_at is null
              returning f.id, f.version, f.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d
