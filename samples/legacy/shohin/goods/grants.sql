-- What reverse.sql writes. Run by the owner.
grant insert, update on t_shohin to enishi;
grant usage on sequence shohin_no_seq to enishi;
