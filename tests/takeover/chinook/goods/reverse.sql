update "Track" set "Name" = $2 ->> 'name' where "TrackId" = $1::integer;

select $1
