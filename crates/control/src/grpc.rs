//! The gRPC services: what comes over the wire turned into decisions, and back. Decisions themselves are made elsewhere.

mod issue;
mod tell;
mod watch;

use std::sync::Arc;

use skans_api::v1;
use skans_api::v1::agents_server::{Agents, AgentsServer};
use skans_api::v1::enrollment_server::{Enrollment, EnrollmentServer};
use skans_host::strangers::counted;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::gate::Permit;
use crate::problem;
use crate::state::Control;

pub(crate) use tell::{EVENTS_OF_ALL, EVENTS_OF_ONE, INTAKE};

/// Largest message of a stranger, in bytes: a token of Kubernetes and a request for a certificate.
const MAX_ENROLMENT: usize = 32 * 1024;
/// Largest message of an agent, in bytes.
const MAX_MESSAGE: usize = 256 * 1024;

/// All services, as routes.
pub(crate) fn routes(control: &Arc<Control>) -> axum::Router {
    let service = Service {
        control: Arc::clone(control),
    };
    let enrollment =
        EnrollmentServer::new(service.clone()).max_decoding_message_size(MAX_ENROLMENT);
    let agents = AgentsServer::new(service).max_decoding_message_size(MAX_MESSAGE);
    Routes::new(enrollment)
        .add_service(agents)
        .prepare()
        .into_axum_router()
}

#[derive(Clone)]
struct Service {
    control: Arc<Control>,
}

/// What the gate let in. Missing only where the gate was left out: then nothing is allowed.
fn permit<T>(request: &Request<T>) -> Result<Permit, Status> {
    request
        .extensions()
        .get()
        .cloned()
        .ok_or_else(|| problem::status(&Error::Internal("a method without a gate".to_owned())))
}

#[tonic::async_trait]
impl Enrollment for Service {
    async fn get_bundle(
        &self,
        request: Request<v1::GetBundleRequest>,
    ) -> Result<Response<v1::Bundle>, Status> {
        permit(&request)?;
        Ok(Response::new(v1::Bundle::clone(
            &self.control.news.borrow().bundle,
        )))
    }

    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolReply>, Status> {
        let permit = permit(&request)?;
        permit
            .within_home()
            .map_err(|error| problem::status(&error))?;
        let control = &self.control;
        if let Some(address) = permit.caller.address()
            && !control
                .enrolments
                .take(counted(address), 1, std::time::Instant::now())
        {
            let error = Error::TooMany("enrolments from this address");
            return Err(problem::status(&error));
        }
        let enrolled = control.enrol(&permit.caller, request.into_inner()).await;
        let enrolled = enrolled.map_err(|error| problem::status(&error))?;
        Ok(Response::new(v1::EnrolReply {
            spiffe_id: enrolled.spiffe_id,
            chain: enrolled.chain.iter().map(|der| der.to_vec()).collect(),
            bundle: Some(v1::Bundle::clone(&control.news.borrow().bundle)),
        }))
    }
}

#[tonic::async_trait]
impl Agents for Service {
    async fn issue(
        &self,
        request: Request<v1::IssueRequest>,
    ) -> Result<Response<v1::IssueReply>, Status> {
        let permit = permit(&request)?;
        let reply = issue::issue(&self.control, &permit, request.into_inner()).await;
        reply
            .map(Response::new)
            .map_err(|error| problem::status(&error))
    }

    async fn log_consistency(
        &self,
        request: Request<v1::LogConsistencyRequest>,
    ) -> Result<Response<v1::LogConsistencyReply>, Status> {
        let permit = permit(&request)?;
        let asked = request.into_inner();
        let by = permit
            .within_home()
            .map_err(|error| problem::status(&error))?;
        if !self
            .control
            .reports
            .take(by.actor, 1, std::time::Instant::now())
        {
            let error = Error::TooMany("questions of this agent");
            return Err(problem::status(&error));
        }
        let proof = self
            .control
            .log_consistency(asked.epoch, asked.old_size, asked.new_size)
            .await
            .map_err(|error| problem::status(&error))?;
        Ok(Response::new(v1::LogConsistencyReply {
            hashes: proof.iter().map(|hash| hash.to_vec()).collect(),
        }))
    }

    type WatchStream = watch::Replies;

    async fn watch(
        &self,
        request: Request<tonic::Streaming<v1::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = permit(&request)?;
        let replies = watch::watch(&self.control, &permit, request.into_inner()).await;
        replies
            .map(Response::new)
            .map_err(|error| problem::status(&error))
    }

    type TellStream = tell::Replies;

    async fn tell(
        &self,
        request: Request<tonic::Streaming<v1::TellRequest>>,
    ) -> Result<Response<Self::TellStream>, Status> {
        let permit = permit(&request)?;
        let replies = tell::tell(&self.control, &permit, request.into_inner()).await;
        replies
            .map(Response::new)
            .map_err(|error| problem::status(&error))
    }
}
