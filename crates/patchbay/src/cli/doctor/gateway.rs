//! The database, the running gateway, and the addresses that it wants.

use std::io;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::finding::Finding;
use crate::cli::common::{Common, TargetArgs};
use crate::cli::failure::Failure;
use crate::home::Home;
use crate::settings::{Settings, StorePlace};

/// Also while a gateway has it open: the check reads one snapshot.
pub async fn database(settings: &Settings, home: &Home) -> Finding {
    let path = match settings.store.place(home.path()) {
        StorePlace::File(path) => path,
        #[cfg(feature = "postgres")]
        StorePlace::Server(url) => return server(url.to_owned()).await,
        #[cfg(not(feature = "postgres"))]
        StorePlace::Server(_) => {
            return Finding::broken("database", "this program was built without PostgreSQL")
                .mend("name a file in `url` under [store], or take a program that was built with it");
        }
    };
    let shown = path.display().to_string();
    if !path.exists() {
        return Finding::ok("database", format_args!("{shown} is not there yet; the first start makes it"));
    }
    let checked = tokio::task::spawn_blocking(move || store_sqlite::integrity(&path)).await;
    match checked {
        Ok(Ok(())) => Finding::ok("database", format_args!("{shown} is whole")),
        Ok(Err(reason)) => Finding::broken("database", format_args!("{shown}: {reason}")).mend(
            "stop the gateway and put a backup in its place: `patchbay restore FILE --replace` keeps what is there",
        ),
        Err(error) => {
            Finding::broken("database", format_args!("{shown}: the check was cut off: {error}")).mend("run it again")
        }
    }
}

/// Whether the server lets us in and its schema is one that we know; nothing is changed.
#[cfg(feature = "postgres")]
async fn server(url: String) -> Finding {
    use store_postgres::{PostgresOptions, PostgresStore, newest_version};

    let shown = PostgresStore::shown(&url).unwrap_or_else(|| String::from("the address under store.url"));
    let checked = tokio::task::spawn_blocking(move || PostgresStore::check(&url, PostgresOptions::default())).await;
    let newest = newest_version();
    match checked {
        Ok(Ok(0)) => {
            Finding::ok("database", format_args!("{shown} answers and is empty; the first start makes its tables"))
        }
        Ok(Ok(version)) if version < newest => Finding::ok(
            "database",
            format_args!("{shown} answers; the next start brings its schema from version {version} to {newest}"),
        ),
        Ok(Ok(_)) => Finding::ok("database", format_args!("{shown} answers")),
        Ok(Err(error)) if error.is_passing() => {
            Finding::broken("database", &error).mend("see whether the server runs and can be reached from here")
        }
        Ok(Err(error)) => {
            Finding::broken("database", &error).mend("correct `url` under [store], or what the server says")
        }
        Err(error) => {
            Finding::broken("database", format_args!("{shown}: the check was cut off: {error}")).mend("run it again")
        }
    }
}

/// A running gateway must answer; without one its addresses must be free.
pub async fn listeners(common: &Common, settings: &Settings, home: &Home) -> Result<Vec<Finding>, Failure> {
    if home.running().is_some() {
        return Ok(vec![running(common).await?]);
    }
    let mut findings = vec![Finding::ok("gateway", "none runs on this home; `patchbay serve` starts one")];
    for listener in &settings.listen {
        let (address, dialect) = (listener.address, listener.dialect.as_str());
        findings.push(match TcpListener::bind(address) {
            Ok(_) => Finding::ok("listener", format_args!("{dialect} {address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Finding::broken("listener", format_args!("{dialect} {address} is taken by another program")).mend(
                    format_args!(
                        "stop it (`ss -ltnp 'sport = :{}'` names it), or set another address under [[listen]]",
                        address.port()
                    ),
                )
            }
            Err(error) => Finding::broken("listener", format_args!("{dialect} {address}: {error}"))
                .mend("set another address under [[listen]]"),
        });
    }
    Ok(findings)
}

async fn running(common: &Common) -> Result<Finding, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let asked = async {
        let mut client = common.target(&TargetArgs::default())?.connect().await?;
        let version: Value = client.ask("version", &json!({})).await?;
        client.close().await;
        Ok::<_, Failure>(version["version"].as_str().unwrap_or_default().to_owned())
    };
    Ok(match asked.await {
        Ok(version) if version == own => Finding::ok("gateway", format_args!("version {version} runs and answers")),
        Ok(version) => Finding::warning("gateway", format_args!("version {version} runs, this program is {own}"))
            .mend("restart the gateway"),
        Err(failure) => Finding::broken("gateway", format_args!("it runs, but {:#}", failure.error))
            .mend("look into its log, then restart it"),
    })
}
