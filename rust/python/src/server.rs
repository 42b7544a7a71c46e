//! Bindings of `carla-online-server`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use carla_online_server as server;
use pyo3::prelude::*;
use server::{Error, Options};

use crate::error::{ErrorClass, Fault};

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let class = match error {
            Error::Map { .. } | Error::Solids { .. } => ErrorClass::Map,
            Error::Maps { .. } | Error::UnknownMap { .. } | Error::Fault { .. } => {
                ErrorClass::Config
            }
            _ => ErrorClass::Simulator,
        };
        Self::new(class, error.to_string())
    }
}

/// Adds this file's classes and functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ServerThreads>()?;
    module.add_function(wrap_pyfunction!(server_calls, module)?)
}

#[pyclass(frozen, module = "carla_online._native")]
struct ServerThreads {
    server: Mutex<server::Server>,
    port: u16,
}

impl ServerThreads {
    fn lock(&self) -> MutexGuard<'_, server::Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ServerThreads {
    #[new]
    #[pyo3(signature = (*, host, port, map=None, maps=None, aliases=Vec::new(), residents=(0, 0, 0), faults=Vec::new()))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        host: String,
        port: u16,
        map: Option<String>,
        maps: Option<PathBuf>,
        aliases: Vec<(String, String)>,
        residents: (usize, usize, u64),
        faults: Vec<String>,
    ) -> PyResult<Self> {
        let map = map.unwrap_or_else(|| Options::default().map);
        let (vehicles, walkers, seed) = residents;
        let options = Options {
            host,
            port,
            map,
            maps,
            aliases,
            residents: server::Residents {
                vehicles,
                walkers,
                seed,
            },
            faults,
        };
        let server = py
            .detach(|| server::Server::start(&options))
            .map_err(Fault::from)?;
        Ok(Self {
            port: server.port(),
            server: Mutex::new(server),
        })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    fn is_running(&self) -> bool {
        self.lock().is_running()
    }

    fn take_journal(&self) -> Vec<String> {
        self.lock().take_journal()
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.lock().stop());
    }

    fn __repr__(&self) -> String {
        format!("ServerThreads(port={})", self.port)
    }
}

#[pyfunction]
fn server_calls() -> Vec<(&'static str, bool)> {
    server::calls()
        .map(|(name, service)| (name, service == server::Service::Served))
        .collect()
}
