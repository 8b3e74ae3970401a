-- The views that need no table: their columns and types, and what psql's commands make of them.
SELECT * FROM pg_stat_activity LIMIT 0 \gdesc
SELECT * FROM pg_stat_ssl LIMIT 0 \gdesc
SELECT * FROM pg_settings LIMIT 0 \gdesc
SELECT * FROM pg_file_settings LIMIT 0 \gdesc
SELECT * FROM pg_hba_file_rules LIMIT 0 \gdesc
SELECT * FROM pg_ident_file_mappings LIMIT 0 \gdesc
SELECT * FROM pg_roles LIMIT 0 \gdesc
SELECT * FROM pg_user LIMIT 0 \gdesc
SELECT * FROM pg_auth_members LIMIT 0 \gdesc
SELECT * FROM pg_prepared_statements LIMIT 0 \gdesc
SELECT * FROM pg_cursors LIMIT 0 \gdesc
SELECT * FROM pg_timezone_names LIMIT 0 \gdesc
SELECT oid, datname, datdba, encoding, datlocprovider, datistemplate, datallowconn, datconnlimit, dattablespace, datcollate, datctype, daticulocale FROM pg_database ORDER BY oid;
SELECT name, utc_offset, is_dst FROM pg_timezone_names WHERE name IN ('UTC', 'Asia/Tokyo', 'Asia/Kolkata') ORDER BY name;
SELECT count(*) > 300 FROM pg_timezone_names;
SELECT roleid::int, member::int, grantor, admin_option FROM pg_auth_members ORDER BY 1, 2;
SELECT pid = pg_backend_pid(), ssl, version, cipher, bits FROM pg_stat_ssl;
SELECT datname, usename, state, query, backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT pg_catalog.current_database(), pg_stat_activity.state FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid();
SELECT a.state FROM pg_stat_activity AS a JOIN pg_roles r ON r.oid = a.usesysid WHERE r.rolname = current_user AND a.pid = pg_backend_pid();
SELECT nope FROM pg_stat_activity;
SELECT * FROM public.pg_settings;
SELECT type, database, user_name, address, netmask, auth_method, options, error FROM pg_hba_file_rules;
SELECT count(*) FROM pg_ident_file_mappings;
\du
CREATE ROLE shown LOGIN CONNECTION LIMIT 2 VALID UNTIL '2999-01-01';
CREATE ROLE shown_too IN ROLE shown;
\du
DROP ROLE shown, shown_too;
BEGIN;
DECLARE c CURSOR FOR SELECT 1;
DECLARE h BINARY SCROLL CURSOR WITH HOLD FOR SELECT 1;
SELECT name, statement, is_holdable, is_binary, is_scrollable, creation_time = now() FROM pg_cursors WHERE name <> 'c' ORDER BY name;
COMMIT;
SELECT name FROM pg_cursors;
CLOSE ALL;
SELECT count(*) FROM pg_cursors;
SELECT pg_encoding_to_char(6), pg_char_to_encoding('utf8'), pg_client_encoding(), getdatabaseencoding();
SELECT current_schemas(false), current_schemas(true), pg_is_in_recovery(), pg_postmaster_start_time() < now(), pg_conf_load_time() <= now();
SELECT pg_get_userbyid(10), pg_backend_pid() > 0, pg_blocking_pids(pg_backend_pid()), pg_jit_available() IS NOT NULL;
SELECT pg_size_pretty(123456789::int8), pg_size_bytes('1.5GB');
SELECT version() LIKE 'PostgreSQL 15%', current_setting('server_version_num')::int / 10000;
SELECT pg_current_logfile(), pg_rotate_logfile();
SELECT pg_sleep(0), pg_typeof(pg_sleep(0));
SELECT pg_sleep_for('1 millisecond'), pg_sleep_until(now());
SELECT inet_server_addr(), inet_server_port();
SELECT pg_trigger_depth(), pg_my_temp_schema();
