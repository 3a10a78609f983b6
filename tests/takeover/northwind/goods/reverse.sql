update products set product_name = $2 ->> 'name', quantity_per_unit = nullif($2 ->> 'state', ''), discontinued = case when ($2 ->> 'deleted')::boolean then 1 else 0 end
 where product_id = $1::smallint;

select $1
