using FedICU;
using FedICU.Fedn;

WebApplication? app = null;
try
{
    try
    {
        app = FednHost.Build(args);
        await app.StartAsync();
    }
    // until the host listens, every failure is one of its configuration: a port that is taken, a certificate that is missing
#pragma warning disable CA1031
    catch (Exception e)
#pragma warning restore CA1031
    {
        await Console.Error.WriteLineAsync(e is FedIcuException ? e.Message : $"The host cannot start: {FednHost.Describe(e)}");
        return 1;
    }

    await app.WaitForShutdownAsync();
    return 0;
}
finally
{
    if (app is not null)
        await app.DisposeAsync();
}
