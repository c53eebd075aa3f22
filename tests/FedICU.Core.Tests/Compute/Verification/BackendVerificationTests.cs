using FedICU.Compute;

namespace FedICU.Tests.Compute;

public sealed class BackendVerificationTests
{
    [Test]
    public void ABackendWithoutClientVerbsIsVerifiedByItsServerVerbs()
    {
        var backend = new CountingBackend(ReferenceBackend.Instance, new RoundWork(ReferenceBackend.Instance));
        VerificationResult result = BackendVerification.Run(backend, quick: true);
        Assert.That(result.Passed);
        IEnumerable<string> verbs = typeof(IComputeBackend).GetMethods()
            .Where(method => method.IsAbstract && !method.IsSpecialName).Select(method => method.Name);
        Assert.That(result.Rows.Select(row => row.Verb).Distinct(), Is.EquivalentTo(verbs));
    }
}
