"""CertificateSigningRequests for kubernetes.io's signers: approved where that is safe, signed, and cleaned away."""

from timonel.controllers.certificates.approving import RequestApprover
from timonel.controllers.certificates.cleaning import RequestCleaner
from timonel.controllers.certificates.signing import RequestSigner, SigningConfig

__all__ = ["RequestApprover", "RequestCleaner", "RequestSigner", "SigningConfig"]
