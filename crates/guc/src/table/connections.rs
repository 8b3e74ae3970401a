//! Where the files are, which addresses to listen on, and who gets in.

use crate::table::prelude::*;

settings! {
    "File Locations" {
        string CONFIG_FILE       postmaster (null) [SUPERUSER_ONLY DISALLOW_IN_FILE]
            "Sets the server's main configuration file.";
        string DATA_DIRECTORY    postmaster (null) [SUPERUSER_ONLY DISALLOW_IN_AUTO_FILE]
            "Sets the server's data directory.";
        string EXTERNAL_PID_FILE postmaster (null) [SUPERUSER_ONLY]
            "Writes the postmaster PID to the specified file.";
        string HBA_FILE          postmaster (null) [SUPERUSER_ONLY]
            "Sets the server's \"hba\" configuration file.";
        string IDENT_FILE        postmaster (null) [SUPERUSER_ONLY]
            "Sets the server's \"ident\" configuration file.";
    }
    "Connections and Authentication / Connection Settings" {
        bool   BONJOUR                          postmaster (off) => bonjour
            "Enables advertising the server via Bonjour.";
        string BONJOUR_NAME                     postmaster ("")
            "Sets the Bonjour service name.";
        int    CLIENT_CONNECTION_CHECK_INTERVAL user       (0 ms, 0..=i32::MAX)
            "Sets the time interval between checks for disconnection while running queries.";
        string LISTEN_ADDRESSES                 postmaster ("localhost") [LIST_INPUT]
            "Sets the host name or IP address(es) to listen to.";
        int    MAX_CONNECTIONS                  postmaster (100, 1..=262143) => max_connections
            "Sets the maximum number of concurrent connections.";
        int    PORT                             postmaster (5432, 1..=65535)
            "Sets the TCP port the server listens on.";
        int    SUPERUSER_RESERVED_CONNECTIONS   postmaster (3, 0..=262143)
            "Sets the number of connection slots reserved for superusers.";
        int    TCP_KEEPALIVES_COUNT             user       (0, 0..=i32::MAX)
            "Maximum number of TCP keepalive retransmits.",
            "Number of consecutive keepalive retransmits that can be lost before a connection is considered dead. A value of 0 uses the system default.";
        int    TCP_KEEPALIVES_IDLE              user       (0 s, 0..=i32::MAX)
            "Time between issuing TCP keepalives.",
            "A value of 0 uses the system default.";
        int    TCP_KEEPALIVES_INTERVAL          user       (0 s, 0..=i32::MAX)
            "Time between TCP keepalive retransmits.",
            "A value of 0 uses the system default.";
        int    TCP_USER_TIMEOUT                 user       (0 ms, 0..=i32::MAX)
            "TCP user timeout.",
            "A value of 0 uses the system default.";
        string UNIX_SOCKET_DIRECTORIES          postmaster (version::DEFAULT_SOCKET_DIR)
               [LIST_INPUT LIST_QUOTE SUPERUSER_ONLY]
            "Sets the directories where Unix-domain sockets will be created.";
        string UNIX_SOCKET_GROUP                postmaster ("")
            "Sets the owning group of the Unix-domain socket.",
            "The owning user of the socket is always the user that starts the server.";
        int    UNIX_SOCKET_PERMISSIONS          postmaster (0o777, 0..=0o777)
            "Sets the access permissions of the Unix-domain socket.",
            "Unix-domain sockets use the usual Unix file system permission set. The parameter value is expected to be a numeric mode specification in the form accepted by the chmod and umask system calls. (To use the customary octal format the number must start with a 0 (zero).)";
    }
    "Connections and Authentication / Authentication" {
        int    AUTHENTICATION_TIMEOUT sighup (60 s, 1..=600)
            "Sets the maximum allowed time to complete client authentication.";
        bool   DB_USER_NAMESPACE      sighup (off)
            "Enables per-database user names.";
        bool   KRB_CASEINS_USERS      sighup (off)
            "Sets whether Kerberos and GSSAPI user names should be treated as case-insensitive.";
        string KRB_SERVER_KEYFILE     sighup ("FILE:/etc/krb5.keytab") [SUPERUSER_ONLY]
            "Sets the location of the Kerberos server key file.";
        enum   PASSWORD_ENCRYPTION    user   ("scram-sha-256" of PASSWORD_ENCRYPTION)
            "Chooses the algorithm for encrypting passwords.";
    }
    "Connections and Authentication / SSL" {
        bool   SSL                                    sighup (off)
            "Enables SSL connections.";
        string SSL_CA_FILE                            sighup ("")
            "Location of the SSL certificate authority file.";
        string SSL_CERT_FILE                          sighup ("server.crt")
            "Location of the SSL server certificate file.";
        string SSL_CIPHERS                            sighup ("HIGH:MEDIUM:+3DES:!aNULL") [SUPERUSER_ONLY]
            "Sets the list of allowed SSL ciphers.";
        string SSL_CRL_DIR                            sighup ("")
            "Location of the SSL certificate revocation list directory.";
        string SSL_CRL_FILE                           sighup ("")
            "Location of the SSL certificate revocation list file.";
        string SSL_DH_PARAMS_FILE                     sighup ("") [SUPERUSER_ONLY]
            "Location of the SSL DH parameters file.";
        string SSL_ECDH_CURVE                         sighup ("prime256v1") [SUPERUSER_ONLY]
            "Sets the curve to use for ECDH.";
        string SSL_KEY_FILE                           sighup ("server.key")
            "Location of the SSL server private key file.";
        enum   SSL_MAX_PROTOCOL_VERSION               sighup ("" of TLS_VERSION_OR_NONE) [SUPERUSER_ONLY]
            "Sets the maximum SSL/TLS protocol version to use.";
        enum   SSL_MIN_PROTOCOL_VERSION               sighup ("TLSv1.2" of TLS_VERSION) [SUPERUSER_ONLY]
            "Sets the minimum SSL/TLS protocol version to use.";
        string SSL_PASSPHRASE_COMMAND                 sighup ("") [SUPERUSER_ONLY]
            "Command to obtain passphrases for SSL.";
        bool   SSL_PASSPHRASE_COMMAND_SUPPORTS_RELOAD sighup (off)
            "Controls whether ssl_passphrase_command is called during server reload.";
        bool   SSL_PREFER_SERVER_CIPHERS              sighup (on)
            "Give priority to server ciphersuite order.";
    }
}
