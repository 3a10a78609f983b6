select t."TrackId"::text as key,
       jsonb_build_object('name', t."Name", 'description', concat_ws(' / ', r."Name", a."Title", t."Composer"), 'category', 'record') as record,
       null::jsonb as links
  from "Track" t
  left join "Album" a using ("AlbumId")
  left join "Artist" r using ("ArtistId")
 where t."TrackId" = any ($1::integer[])
