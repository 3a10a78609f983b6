-- Who may bring leads in from files.

select grant_operation('list_imports', 'supervisor:team marketing:all admin:all');
select grant_operation('create_import', 'supervisor:team marketing:all admin:all');
select grant_operation('get_import', 'supervisor:team marketing:all admin:all');
select grant_operation('start_import', 'supervisor:team marketing:all admin:all');
select grant_operation('list_import_rejects', 'supervisor:team marketing:all admin:all');
select grant_operation('download_import_rejects', 'supervisor:team marketing:all admin:all');
