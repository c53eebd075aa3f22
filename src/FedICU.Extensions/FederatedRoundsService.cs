using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions;

/// <summary>Starts and stops a server's rounds with the host.</summary>
internal sealed class FederatedRoundsService(FederatedRounds rounds) : IHostedService
{
    public Task StartAsync(CancellationToken cancellationToken) => rounds.StartAsync(cancellationToken);

    public Task StopAsync(CancellationToken cancellationToken) => rounds.DisposeAsync().AsTask();
}
