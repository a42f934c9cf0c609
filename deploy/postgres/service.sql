-- Two roles and a schema for one service, which may touch nothing else. The owner makes and changes the tables, with
-- `SERVICE migrate`; the service reads and writes rows, and can neither drop nor change what holds them. Harmless when
-- they are there; takes over what a service owned itself. psql's variables: database, service, password, owner_password.
SET client_min_messages = warning;
\set owner :service _owner
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[:'service', :'owner']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE :"service" PASSWORD :'password';
ALTER ROLE :"owner" PASSWORD :'owner_password';
ALTER ROLE :"service" SET search_path = :"service";
ALTER ROLE :"owner" SET search_path = :"service";
GRANT CONNECT ON DATABASE :"database" TO :"service", :"owner";
CREATE SCHEMA IF NOT EXISTS :"service" AUTHORIZATION :"owner";
SELECT format('REASSIGN OWNED BY %I TO %I', :'service', :'owner')
WHERE EXISTS (SELECT FROM pg_namespace WHERE nspname = :'service' AND nspowner = :'service'::regrole)
    OR EXISTS (SELECT FROM pg_class WHERE relowner = :'service'::regrole) \gexec
GRANT USAGE ON SCHEMA :"service" TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA :"service" TO :"service";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA :"service" TO :"service";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service"
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"service";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service" GRANT USAGE, SELECT ON SEQUENCES TO :"service";
-- What was migrated is the owner's to say.
SELECT format('REVOKE INSERT, UPDATE, DELETE ON %I.migrations FROM %I', :'service', :'service')
WHERE EXISTS (SELECT FROM pg_tables WHERE schemaname = :'service' AND tablename = 'migrations') \gexec
